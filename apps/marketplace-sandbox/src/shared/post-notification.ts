import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Fault } from './faults.js';

export interface PostAnswer {
  status: number | null;
  body: string | null;
  error: string | null;
  timedOut: boolean;
  tookMs: number;
}

/** What breaks a notification on its way; one attempt, whose repetition is whole again. */
export type BrokenWay = Pick<Fault, 'kind' | 'shape' | 'delayMs'>;

const SHOWN_CHARACTERS = 2000;
const SLOW_MS = 3000;
const PIECES = 20;
const HTML = '<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>';

/** One POST of a marketplace to the publisher. The window is real time; a redirect is an answer, not followed. */
export async function postNotification(
  url: string,
  headers: Record<string, string>,
  body: string,
  windowMs: number,
  way?: BrokenWay,
): Promise<PostAnswer> {
  const started = performance.now();
  const took = (): number => Math.round(performance.now() - started);
  try {
    const signal = AbortSignal.timeout(windowMs);
    const answer =
      way?.kind === 'slow_notification' || (way?.kind === 'malformed_notification' && way.shape === 'cut')
        ? await postInPieces(url, headers, body, way, signal)
        : await postWhole(url, way?.kind === 'malformed_notification' ? broken(headers, body, way.shape) : { headers, body }, signal);
    return { ...answer, body: answer.body.slice(0, SHOWN_CHARACTERS), error: null, timedOut: false, tookMs: took() };
  } catch (error) {
    const timedOut = (error as Error).name === 'TimeoutError';
    const cause = (error as { cause?: { code?: string } }).cause?.code;
    const why = timedOut ? `no answer within ${windowMs} ms` : (cause ?? (error as Error).message);
    return { status: null, body: null, error: why, timedOut, tookMs: took() };
  }
}

async function postWhole(
  url: string,
  sent: { headers: Record<string, string>; body: string },
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  const response = await fetch(url, { method: 'POST', ...sent, redirect: 'manual', signal });
  return { status: response.status, body: await response.text() };
}

function broken(headers: Record<string, string>, body: string, shape: Fault['shape']): { headers: Record<string, string>; body: string } {
  if (shape === 'wrong_type') return { headers: { ...headers, 'content-type': 'text/html; charset=utf-8' }, body };
  if (shape === 'html') return { headers: { ...headers, 'content-type': 'text/html; charset=utf-8' }, body: HTML };
  return { headers, body: shape === 'empty' ? '' : half(body).toString() };
}

const half = (body: string): Buffer => Buffer.from(body).subarray(0, Math.floor(Buffer.byteLength(body) / 2));

/** Promised in full; it comes in pieces over `delayMs`, or half of it and then the line breaks. */
function postInPieces(
  url: string,
  headers: Record<string, string>,
  body: string,
  way: BrokenWay,
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const whole = Buffer.from(body);
    const outgoing = send(url, { method: 'POST', headers: { ...headers, 'content-length': whole.length } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    signal.addEventListener('abort', () => {
      outgoing.destroy();
      reject(signal.reason as Error);
    });
    const isCut = way.kind === 'malformed_notification';
    const size = isCut ? half(body).length || 1 : Math.ceil(whole.length / PIECES);
    const pauseMs = isCut ? 20 : (way.delayMs ?? SLOW_MS) / PIECES;
    const piece = (from: number): void => {
      if (outgoing.destroyed) return;
      outgoing.write(whole.subarray(from, from + size));
      const next = from + size;
      if (isCut) setTimeout(() => outgoing.destroy(new Error('the line was cut')), pauseMs);
      else if (next >= whole.length) outgoing.end();
      else setTimeout(() => piece(next), pauseMs);
    };
    piece(0);
  });
}
