import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { Fault } from './faults.js';

const HTML =
  '<!DOCTYPE html><html><head><title>Service unavailable</title></head><body><h1>Our services are not available right now</h1></body></html>';

/** The answer, broken as the fault says; the status stays. */
export function garbled(payload: unknown, fault: Fault, reply: FastifyReply): unknown {
  const whole = textOf(payload);
  const half = whole.slice(0, Math.floor(whole.length / 2));
  switch (fault.shape) {
    case 'html':
      reply.type('text/html; charset=utf-8').header('content-length', Buffer.byteLength(HTML));
      return HTML;
    case 'wrong_type':
      reply.type('text/html; charset=utf-8');
      return payload;
    case 'empty':
      reply.header('content-length', 0);
      return '';
    case 'cut': {
      // Promised in full: the caller sees the line break, not an end.
      reply.header('content-length', Math.max(2, Buffer.byteLength(whole)));
      const stream = Readable.from([half || '{']);
      const { socket } = reply.raw;
      // After what there is has left.
      stream.once('end', () => setTimeout(() => socket?.destroy(), 20));
      return stream;
    }
    default:
      reply.header('content-length', Buffer.byteLength(half));
      return half;
  }
}

/** A byte each `delayMs`, for as long as the caller listens. */
export function dripped(payload: unknown, delayMs: number, reply: FastifyReply): Readable {
  const bytes = Buffer.from(textOf(payload) || '{}');
  reply.header('content-length', bytes.length);
  return Readable.from(
    (async function* () {
      for (const byte of bytes) {
        yield Buffer.from([byte]);
        if (reply.raw.destroyed) return;
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    })(),
  );
}

const textOf = (payload: unknown): string =>
  Buffer.isBuffer(payload) ? payload.toString('utf8') : typeof payload === 'string' ? payload : '';
