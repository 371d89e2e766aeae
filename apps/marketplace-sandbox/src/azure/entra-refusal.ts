import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';

export type Form = Record<string, string | undefined>;

/** An AADSTS error of the invented Entra. */
export class EntraRefusal extends Error {
  constructor(
    readonly statusCode: number,
    readonly error: string,
    readonly aadsts: number,
    message: string,
  ) {
    super(message);
  }
}

export function required(form: Form, field: string): string {
  const value = form[field];
  if (!value) throw new EntraRefusal(400, 'invalid_request', 900144, `The request body must contain the following parameter: '${field}'.`);
  return value;
}

export function sendRefusal(reply: FastifyReply, refusal: EntraRefusal): FastifyReply {
  const [trace, correlation] = [randomUUID(), randomUUID()];
  const timestamp = new Date()
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
  return reply.code(refusal.statusCode).send({
    error: refusal.error,
    error_description: `AADSTS${refusal.aadsts}: ${refusal.message} Trace ID: ${trace} Correlation ID: ${correlation} Timestamp: ${timestamp}`,
    error_codes: [refusal.aadsts],
    timestamp,
    trace_id: trace,
    correlation_id: correlation,
    error_uri: `https://login.microsoftonline.com/error?code=${refusal.aadsts}`,
  });
}
