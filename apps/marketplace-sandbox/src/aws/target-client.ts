import { type BrokenWay, postNotification } from '../shared/post-notification.js';

export const SECRET_HEADER = 'x-berth-webhook-secret';

export interface TargetAnswer {
  status: number | null;
  body: string | null;
  error: string | null;
  tookMs: number;
}

/** One call of the API destination. EventBridge signs nothing: the secret header of the connection is all there is. */
export function postEvent(url: string, body: string, secret: string | undefined, windowMs: number, way?: BrokenWay): Promise<TargetAnswer> {
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'user-agent': 'Amazon/EventBridge/ApiDestinations',
    ...(secret === undefined ? {} : { [SECRET_HEADER]: secret }),
  };
  return post(url, body, windowMs, headers, way);
}

/** SNS over HTTP: JSON that says it is text, and headers that repeat a part of it unsigned (contract aws §4.2). */
export function postSns(
  url: string,
  body: string,
  message: Record<string, string>,
  windowMs: number,
  way?: BrokenWay,
): Promise<TargetAnswer> {
  const headers = {
    'content-type': 'text/plain; charset=UTF-8',
    'user-agent': 'Amazon Simple Notification Service Agent',
    'x-amz-sns-message-type': message['Type'] ?? '',
    'x-amz-sns-message-id': message['MessageId'] ?? '',
    'x-amz-sns-topic-arn': message['TopicArn'] ?? '',
  };
  return post(url, body, windowMs, headers, way);
}

async function post(url: string, body: string, windowMs: number, headers: Record<string, string>, way?: BrokenWay): Promise<TargetAnswer> {
  const { timedOut: _timedOut, ...answer } = await postNotification(url, headers, body, windowMs, way);
  return answer;
}
