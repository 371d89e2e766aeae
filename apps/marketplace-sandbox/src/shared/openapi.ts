import type { FastifyInstance, RouteOptions } from 'fastify';
import { z } from 'zod';
import { CONTROL_NOTES } from './openapi-notes.js';

type Tree = Record<string, unknown>;

const ROOMS: [string, string][] = [
  ['/sandbox/clock', 'Clock'],
  ['/sandbox/azure', 'Azure: control'],
  ['/sandbox/aws', 'AWS: control'],
  ['/sandbox/gcp', 'Google Cloud: control'],
  ['/sandbox', 'Control'],
  ['/storefront', 'Storefront'],
  ['/azure', 'Azure: wire'],
  ['/aws', 'AWS: wire'],
  ['/gcp', 'Google Cloud: wire'],
];

/** Literal colons are doubled in Fastify's paths; a parameter may carry a pattern. */
export function openApiPath(path: string): { path: string; parameters: string[] } {
  const parameters: string[] = [];
  const text = path
    .replaceAll('::', '\u0000')
    .replace(/:([A-Za-z_]\w*)(?:\((?:[^()]|\([^()]*\))*\))?/g, (_whole, name: string) => {
      parameters.push(name);
      return `{${name}}`;
    })
    .replaceAll('\u0000', ':');
  return { path: text, parameters };
}

/** The document is made of the routes themselves, so none is missing. Call before the first route is registered. */
export function describeRoutes(app: FastifyInstance): void {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => void routes.push(route));
  app.get('/openapi.json', () => documentOf(routes));
}

function documentOf(routes: RouteOptions[]): Tree {
  const paths: Record<string, Tree> = {};
  for (const route of routes) {
    for (const method of [route.method].flat()) {
      // Fastify adds HEAD by itself.
      if (method === 'HEAD' || method === 'OPTIONS') continue;
      const { path, parameters } = openApiPath(route.url);
      const known = (paths[path] ??= {});
      known[method.toLowerCase()] = operationOf(method, path, parameters, route);
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Marketplace sandbox',
      version: '1',
      description:
        'Plays Azure Marketplace, Google Cloud Marketplace and AWS Marketplace over their own wire on this machine. Control routes are for tests and people; wire routes answer as the marketplaces do, errors too. AWS dispatches on the header X-Amz-Target; Pub/Sub is gRPC on a port of its own (gcp.pubsubHost in GET /sandbox/settings).',
    },
    servers: [{ url: '/' }],
    tags: [...new Set(Object.values(paths).flatMap((one) => Object.values(one).flatMap((op) => (op as { tags: string[] }).tags)))].map(
      (name) => ({ name }),
    ),
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

function operationOf(method: string, path: string, parameters: string[], route: RouteOptions): Tree {
  const note = CONTROL_NOTES[`${method} ${path}`];
  const operation = (route.config as { operation?: string } | undefined)?.operation;
  const tag = ROOMS.find(([prefix]) => path === prefix || path.startsWith(`${prefix}/`))?.[1] ?? 'General';
  return {
    tags: [tag],
    operationId: `${method.toLowerCase()}${path.replace(/[^A-Za-z0-9]+(.)?/g, (_whole, next: string | undefined) => (next ?? '').toUpperCase())}`,
    summary: note?.summary ?? (operation ? `The marketplace's ${operation}` : tag === 'Storefront' ? 'A form of the storefront' : path),
    ...(operation ? { 'x-operation': operation } : {}),
    parameters: [
      ...parameters.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      ...(note?.query ?? []).map((name) => ({ name, in: 'query', schema: { type: 'string' } })),
    ],
    ...(note?.body
      ? {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: z.toJSONSchema(note.body, { io: 'input', unrepresentable: 'any' }) } },
          },
        }
      : {}),
    responses: {
      [note?.status ?? 200]: { description: note?.answer ?? 'The answer' },
      ...(path.startsWith('/sandbox') ? { '4XX': { description: '{"code", "message"}' } } : {}),
    },
  };
}
