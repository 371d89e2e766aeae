export const SECRET_HEADER = 'x-berth-webhook-secret';

export interface TargetAnswer {
  status: number | null;
  body: string | null;
  error: string | null;
  tookMs: number;
}

const SHOWN_CHARACTERS = 2000;

/** One call of the API destination. EventBridge signs nothing: the secret header of the connection is all there is. */
export function postEvent(url: string, body: string, secret: string | undefined, windowMs: number): Promise<TargetAnswer> {
  return post(url, body, windowMs, {
    'content-type': 'application/json; charset=utf-8',
    'user-agent': 'Amazon/EventBridge/ApiDestinations',
    ...(secret === undefined ? {} : { [SECRET_HEADER]: secret }),
  });
}

/** SNS over HTTP: JSON that says it is text, and headers that repeat a part of it unsigned (contract aws §4.2). */
export function postSns(url: string, body: string, message: Record<string, string>, windowMs: number): Promise<TargetAnswer> {
  return post(url, body, windowMs, {
    'content-type': 'text/plain; charset=UTF-8',
    'user-agent': 'Amazon Simple Notification Service Agent',
    'x-amz-sns-message-type': message['Type'] ?? '',
    'x-amz-sns-message-id': message['MessageId'] ?? '',
    'x-amz-sns-topic-arn': message['TopicArn'] ?? '',
  });
}

async function post(url: string, body: string, windowMs: number, headers: Record<string, string>): Promise<TargetAnswer> {
  const started = performance.now();
  const took = (): number => Math.round(performance.now() - started);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(windowMs),
    });
    const text = await response.text();
    return { status: response.status, body: text.slice(0, SHOWN_CHARACTERS), error: null, tookMs: took() };
  } catch (error) {
    const timedOut = (error as Error).name === 'TimeoutError';
    const cause = (error as { cause?: { code?: string } }).cause?.code;
    return {
      status: null,
      body: null,
      error: timedOut ? `no answer within ${windowMs} ms` : (cause ?? (error as Error).message),
      tookMs: took(),
    };
  }
}
