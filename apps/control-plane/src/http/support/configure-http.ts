import { randomUUID } from 'node:crypto';
import { gunzip } from 'node:zlib';
import { promisify } from 'node:util';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError, type Logger } from '#platform';
import { namedSchemas } from './api-schemas.js';
import { ProblemFilter } from './problem.filter.js';

const inflate = promisify(gunzip);
const MAX_INFLATED = 20 * 1024 * 1024;

const BROWSER_HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
};

export type RawRequest = FastifyRequest & { rawBody?: Buffer };

/** Body reading, security headers, problem documents and the API description. */
export async function configureHttp(app: NestFastifyApplication, logger: Logger): Promise<void> {
  const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance;
  fastify.removeAllContentTypeParsers();
  // Webhooks keep their bytes: a signature or a stored original must not depend on our reading of them.
  fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (request: RawRequest, body: Buffer, done) => {
    read(request, body).then(
      (value) => done(null, value),
      (error: Error) => done(error),
    );
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    const given = request.headers['x-request-id'];
    request.id = typeof given === 'string' && /^[\w.-]{8,80}$/.test(given) ? given : randomUUID();
    // A marketplace's robot renders nothing: what guards a browser would only be bytes.
    if (request.url.startsWith('/webhooks/')) void reply.header('x-request-id', request.id);
    else void reply.headers({ 'x-request-id': request.id, ...BROWSER_HEADERS });
    done();
  });
  app.useGlobalFilters(new ProblemFilter(logger));
  SwaggerModule.setup('docs', app, describeApi(app), {
    jsonDocumentUrl: 'openapi.json',
    yamlDocumentUrl: 'openapi.yaml',
    customSiteTitle: 'Berth API',
  });
  await app.init();
  await fastify.ready();
}

export function describeApi(app: NestFastifyApplication): ReturnType<typeof SwaggerModule.createDocument> {
  const config = new DocumentBuilder()
    .setTitle('Berth control plane')
    .setDescription(
      'Tenants, subscriptions, placements, usage and billing records. Errors are problem documents (RFC 9457) with a stable `code`; lists are pages of `{items, nextCursor}`; quantities and base amounts are decimal text.',
    )
    .setVersion('1')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'An operator, tenant or cell key' })
    .addServer('/')
    .build();
  const document = SwaggerModule.createDocument(app, config, { operationIdFactory: (_, method) => method });
  return { ...document, components: { ...document.components, schemas: { ...document.components?.schemas, ...namedSchemas() } } };
}

async function read(request: RawRequest, body: Buffer): Promise<unknown> {
  request.rawBody = body;
  if (request.url.startsWith('/webhooks/')) return undefined;
  let bytes = body;
  if (request.headers['content-encoding'] === 'gzip') {
    bytes = await inflate(body, { maxOutputLength: MAX_INFLATED }).catch(() => {
      throw new ProblemError('too_large', 'request.too_large', 'The compressed body is broken or unpacks to more than this route takes.');
    });
  } else if (request.headers['content-encoding']) {
    throw new ProblemError('validation', 'request.encoding_unsupported', 'Content-Encoding may be gzip or absent.');
  }
  const type = (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  const text = bytes.toString('utf8');
  if (type === 'application/x-www-form-urlencoded') return Object.fromEntries(new URLSearchParams(text));
  if (type === 'application/json' || type.endsWith('+json')) {
    if (text.trim() === '') return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new ProblemError('validation', 'request.malformed_json', 'The body is not valid JSON.');
    }
  }
  return text;
}
