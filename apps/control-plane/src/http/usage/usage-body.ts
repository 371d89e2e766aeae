import type { FastifyRequest } from 'fastify';
import { ProblemError } from '#platform';
import { mediaType } from '../support/read-body.js';

export const MAX_EVENTS = 5_000;
export const SINGLE = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';
const JSON_TYPE = 'application/json';

/**
 * The events of a request by the HTTP binding of CloudEvents 1.0: one (structured, or binary with `ce-…` headers) or a batch.
 * `application/json` without `ce-…` headers may be either of the structured ones. Each event is checked later, by itself.
 */
export function eventsOf(request: FastifyRequest, body: unknown): unknown[] {
  const type = mediaType(request);
  if (type !== SINGLE && type !== BATCH && type !== JSON_TYPE)
    throw new ProblemError(
      'unsupported_media',
      'usage.content_type_unsupported',
      `Content-Type must be ${SINGLE}, ${BATCH} or, for events in binary mode, ${JSON_TYPE}.`,
    );
  const charset = /;\s*charset="?([^";\s]+)/i.exec(request.headers['content-type'] ?? '')?.[1]?.toLowerCase();
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8')
    throw new ProblemError('unsupported_media', 'usage.content_type_unsupported', 'The charset must be utf-8.');
  if (type === JSON_TYPE && request.headers['ce-specversion'] !== undefined) return [binaryEvent(request, body)];
  return structured(type, body);
}

/** The events of a body in structured mode whose media type is one of ours. */
export function structured(type: string, body: unknown): unknown[] {
  if (body === undefined || body === null || typeof body !== 'object' || (Array.isArray(body) && body.length === 0))
    throw new ProblemError('validation', 'usage.no_events', 'Send one CloudEvent or an array of them as JSON.');
  if (type === SINGLE && Array.isArray(body))
    throw new ProblemError('validation', 'usage.not_one_event', `An array of events has the Content-Type ${BATCH}.`);
  if (type === BATCH && !Array.isArray(body))
    throw new ProblemError('validation', 'usage.not_a_batch', `One event has the Content-Type ${SINGLE}; a batch is an array.`);
  const events = Array.isArray(body) ? body : [body];
  if (events.length > MAX_EVENTS)
    throw new ProblemError('too_large', 'usage.batch_too_large', `A batch may hold at most ${MAX_EVENTS} events.`);
  return events;
}

/** Attributes from the headers (percent-encoded, CloudEvents HTTP binding 3.1.3.2), data from the body. */
function binaryEvent(request: FastifyRequest, data: unknown): Record<string, unknown> {
  const event: Record<string, unknown> = { datacontenttype: JSON_TYPE };
  for (const [name, value] of Object.entries(request.headers))
    if (name.startsWith('ce-') && typeof value === 'string') event[name.slice(3)] = decoded(name, value);
  // Named `data` or otherwise ours: the body wins.
  event['data'] = data;
  return event;
}

function decoded(name: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new ProblemError('validation', 'usage.invalid_header', `The header ${name} is not percent-encoded UTF-8.`);
  }
}
