import { randomUUID } from 'node:crypto';

export interface WebhookAnswer {
  kind: 'answered' | 'timed_out' | 'unreachable';
  status: number | null;
  body: string | null;
  error: string | null;
  tookMs: number;
}

const SHOWN_CHARACTERS = 2000;

/** One POST to the publisher's connection webhook; the answer window is real time. */
export async function postWebhook(
  url: string,
  body: string,
  token: string | undefined,
  windowMs: number,
  headers: Record<string, string> = {},
): Promise<WebhookAnswer> {
  const started = performance.now();
  const took = (): number => Math.round(performance.now() - started);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'x-ms-requestid': randomUUID(),
        'x-ms-correlationid': randomUUID(),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(windowMs),
    });
    const text = await response.text();
    return { kind: 'answered', status: response.status, body: text.slice(0, SHOWN_CHARACTERS), error: null, tookMs: took() };
  } catch (error) {
    const timedOut = (error as Error).name === 'TimeoutError';
    const cause = (error as { cause?: { code?: string } }).cause?.code;
    return {
      kind: timedOut ? 'timed_out' : 'unreachable',
      status: null,
      body: null,
      error: timedOut ? `no answer within ${windowMs} ms` : (cause ?? (error as Error).message),
      tookMs: took(),
    };
  }
}
