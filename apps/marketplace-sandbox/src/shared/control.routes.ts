import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { BilledList } from './billed.js';
import type { CallsLog } from './calls-log.js';
import { faultBody, type Faults } from './faults.js';
import { ControlError, parseBody } from './http.js';
import type { SandboxSettings, Settings } from './settings.js';

const billedQuery = z.object({ marketplace: z.string().optional(), externalId: z.string().optional() });
const callsQuery = z.object({
  marketplace: z.string().optional(),
  operation: z.string().optional(),
  since: z.string().optional(),
  limit: z.coerce.number().int().positive().optional(),
});

/** The control surface that all marketplaces share. */
export function controlRoutes(
  scope: FastifyInstance,
  parts: { settings: Settings; billed: BilledList; calls: CallsLog; faults: Faults; pubsubHost?: () => string | undefined },
): void {
  const { settings, billed, calls, faults, pubsubHost } = parts;
  scope.get('/healthz', () => ({ status: 'ok' }));

  scope.get('/sandbox/settings', () => shown(settings.current, pubsubHost?.()));
  scope.put('/sandbox/settings', (request) => shown(settings.put(request.body), pubsubHost?.()));

  scope.get('/sandbox/billed', (request) => ({ items: billed.list(parseBody(billedQuery, request.query)) }));
  scope.get('/sandbox/calls', (request) => ({ items: calls.list(parseBody(callsQuery, request.query)) }));

  scope.post('/sandbox/faults', (request, reply) => reply.code(201).send(faults.add(parseBody(faultBody, request.body))));
  scope.get('/sandbox/faults', () => ({ seed: faults.seed, items: faults.list(), spent: faults.spent() }));
  scope.delete<{ Params: { id: string } }>('/sandbox/faults/:id', (request, reply) => {
    if (!faults.remove(request.params.id))
      throw new ControlError(404, 'fault.unknown', 'There is no such fault; it may have struck for the last time.');
    return reply.code(204).send();
  });
  scope.delete('/sandbox/faults', (_request, reply) => {
    faults.clear();
    return reply.code(204).send();
  });
}

/** The settings, with where Pub/Sub listens. */
function shown(settings: SandboxSettings, pubsubHost: string | undefined): object {
  return { ...settings, ...(settings.gcp ? { gcp: { ...settings.gcp, pubsubHost } } : {}) };
}
