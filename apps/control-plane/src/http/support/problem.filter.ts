import { Catch, HttpException, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError, errorText, isBusy, type Logger } from '#platform';
import { problemPage, wantsPage } from '../landing/problem-html.js';
import { unstorableText } from './read-body.js';

/** Renders every failure as `application/problem+json`, at a buyer's address as a page. An unexpected one tells nothing but its request id. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly logger: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const { status, headers, body } = problemAnswer(error, request, this.logger);
    if (reply.sent) return;
    void reply.status(status).headers(headers).send(body);
  }
}

interface Asked {
  id: string;
  url: string;
  headers: { accept?: string | undefined };
}

/** How a failed request is answered, with the headers as they go out. Logs what is our own fault. */
export function problemAnswer(
  error: unknown,
  request: Asked,
  logger: Pick<Logger, 'error'>,
): { status: number; headers: Record<string, string>; body: string } {
  const problem = toProblem(error);
  const instance = `urn:request:${request.id}`;
  if (problem.status >= 500)
    logger.error({ err: errorText(error), stack: (error as Error)?.stack, instance, url: request.url.split('?')[0] }, 'request failed');
  const asPage = wantsPage(request.url, request.headers.accept);
  return {
    status: problem.status,
    headers: {
      'content-type': asPage ? 'text/html; charset=utf-8' : 'application/problem+json; charset=utf-8',
      ...(asPage ? { 'cache-control': 'no-store', vary: 'accept' } : {}),
      ...(problem.kind === 'unauthenticated' ? { 'www-authenticate': 'Bearer' } : {}),
      ...(problem.kind === 'unavailable' || problem.kind === 'too_many' ? { 'retry-after': '5' } : {}),
    },
    body: asPage ? problemPage(problem, instance) : JSON.stringify(problem.toDocument(instance)),
  };
}

export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  const e = error as { code?: string; statusCode?: number };
  if (e.code === '22P05' || e.code === '22021') return unstorableText();
  if (isBusy(error))
    return new ProblemError(
      'unavailable',
      'database.busy',
      'Something else was in the way of this in the database. Send it again in a moment.',
      {},
      { cause: error },
    );
  const status = error instanceof HttpException ? error.getStatus() : (e.statusCode ?? 500);
  // By status: Nest hands errors of Fastify on as its own, without their code.
  if (status === 413) return new ProblemError('too_large', 'request.too_large', 'The body is larger than this route takes.');
  if (e.code?.startsWith('FST_ERR_CTP'))
    return new ProblemError('validation', 'request.body_unreadable', 'The body could not be read as its content type says.');
  if (status === 404)
    return new ProblemError('not_found', 'request.no_such_route', 'There is nothing at this address. The API is described at /docs.');
  if (status >= 400 && status < 500) return new ProblemError('validation', 'request.invalid', errorText(error));
  return new ProblemError(
    'internal',
    'internal',
    'Something failed on our side. Nothing was lost; support can find it by the instance of this problem.',
  );
}
