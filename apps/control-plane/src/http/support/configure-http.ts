import type { Server } from 'node:http';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '#platform';
import { Metering } from '#metering';
import { KeyChecks } from '#tenancy';
import { RuntimeInfo } from '../../runtime-info.js';
import { isUsagePost, posterOf, UsageDoor } from '../usage/usage-door.js';
import { openLane } from '../usage/usage-lane.js';
import { namedSchemas } from './api-schemas.js';
import { ProblemFilter } from './problem.filter.js';
import { readBodies, type RawRequest } from './read-body.js';
import { requestIdOf } from './request-id.js';

export type { RawRequest };

const BROWSER_HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
};

/** Body reading, security headers, problem documents and the API description. */
export async function configureHttp(app: NestFastifyApplication, logger: Logger): Promise<void> {
  const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance;
  readBodies(fastify);
  fastify.addHook('onRequest', (request, reply, done) => {
    request.id = requestIdOf(request.headers);
    // A marketplace's robot and a cell render nothing: what guards a browser would only be bytes.
    if (request.url.startsWith('/webhooks/') || isUsagePost(request)) void reply.header('x-request-id', request.id);
    else void reply.headers({ 'x-request-id': request.id, ...BROWSER_HEADERS });
    done();
  });
  const door = new UsageDoor(app.get(KeyChecks));
  door.guard(fastify);
  app.useGlobalFilters(new ProblemFilter(logger));
  SwaggerModule.setup('docs', app, describeApi(app), {
    jsonDocumentUrl: 'openapi.json',
    yamlDocumentUrl: 'openapi.yaml',
    customSiteTitle: 'Berth API',
  });
  await app.init();
  await fastify.ready();
  const [metering, runtime] = [app.get(Metering), app.get(RuntimeInfo)];
  openLane(fastify.server as Server, {
    door,
    take: (caller, events) => metering.ingest(posterOf(caller), events),
    isOpen: () => runtime.state !== 'stopping',
    logger,
  });
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
