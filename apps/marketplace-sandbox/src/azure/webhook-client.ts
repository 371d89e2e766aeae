import { randomUUID } from 'node:crypto';
import { type BrokenWay, postNotification } from '../shared/post-notification.js';

export interface WebhookAnswer {
  kind: 'answered' | 'timed_out' | 'unreachable';
  status: number | null;
  body: string | null;
  error: string | null;
  tookMs: number;
}

/** One POST to the publisher's connection webhook; the answer window is real time. */
export async function postWebhook(
  url: string,
  body: string,
  token: string | undefined,
  windowMs: number,
  headers: Record<string, string> = {},
  way?: BrokenWay,
): Promise<WebhookAnswer> {
  const all = {
    'content-type': 'application/json; charset=utf-8',
    'x-ms-requestid': randomUUID(),
    'x-ms-correlationid': randomUUID(),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...headers,
  };
  const { timedOut, ...answer } = await postNotification(url, all, body, windowMs, way);
  return { kind: answer.status !== null ? 'answered' : timedOut ? 'timed_out' : 'unreachable', ...answer };
}
