import type { FastifyError, FastifyInstance } from 'fastify';
import type { z } from 'zod';
import { isLoopbackHost } from '../config.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The JSON body as the sender wrote it. */
    bodyText?: string;
  }
}

/** A refusal on the control surface; marketplaces have error shapes of their own. */
export class ControlError extends Error {
  constructor(
    readonly statusCode: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export function parseBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(body ?? {});
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new ControlError(400, 'body.invalid', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`);
}

/** Keeps the body's text beside the parsed value, and takes an empty body for none. */
export function acceptJson(app: FastifyInstance): void {
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    request.bodyText = text as string;
    if (text === '') return done(null, undefined);
    try {
      done(null, JSON.parse(text as string));
    } catch {
      done(new ControlError(400, 'body.not_json', 'The body is not JSON.'));
    }
  });
}

/**
 * The control surface has no login. Loopback keeps other machines out; this keeps out web pages that a
 * browser on this machine has open: a foreign name in Host (rebinding) or in Origin (a forged form).
 */
export function refuseForeignPages(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const origin = request.headers.origin;
    if (!isLoopbackHost(request.hostname)) return done(new ControlError(403, 'host.foreign', 'Call the sandbox by its loopback address.'));
    if (origin !== undefined && !isLoopbackOrigin(origin))
      return done(new ControlError(403, 'origin.foreign', 'A page of another site may not call the sandbox.'));
    done();
  });
}

function isLoopbackOrigin(origin: string): boolean {
  try {
    return isLoopbackHost(new URL(origin).hostname);
  } catch {
    return false;
  }
}

export function answerControlErrors(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) process.stderr.write(`marketplace-sandbox: ${error.stack ?? error.message}\n`);
    return reply.code(status).send({ code: error.code ?? 'internal', message: error.message });
  });
}
