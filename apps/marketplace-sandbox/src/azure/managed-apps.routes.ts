import type { FastifyInstance } from 'fastify';
import { jwtVerify } from 'jose';
import { z } from 'zod';
import { parseBody } from '../shared/http.js';
import { isAppOf } from './auth.js';
import type { EntraKeys } from './entra-keys.js';
import type { ManagedApps } from './managed-apps.js';
import { type AzureSettings, offerOf, tenantOfOffer } from './settings.js';

export const ARM = 'https://management.azure.com';
export const managedAppBody = z.strictObject({
  offerId: z.string(),
  planId: z.string(),
  name: z
    .string()
    .regex(/^[a-z0-9-]{3,40}$/)
    .optional(),
  outcome: z.enum(['succeeded', 'failed']).default('succeeded'),
});
export const managedNotificationBody = z.strictObject({ body: z.unknown(), sig: z.string().nullable() });
const actionBody = z.object({ planId: z.string().optional() });

/** Stands for https://management.azure.com, as far as a publisher confirms a notification (contract azure §7). Under /azure/arm. */
export function armRoutes(scope: FastifyInstance, apps: ManagedApps, keys: EntraKeys, settings: () => AzureSettings): void {
  scope.get<{ Params: { s: string; rg: string; app: string }; Querystring: { 'api-version'?: string } }>(
    '/subscriptions/:s/resourceGroups/:rg/providers/Microsoft.Solutions/applications/:app',
    { config: { operation: 'getApplication' } },
    async (request, reply) => {
      const fail = (status: number, code: string, message: string): unknown => reply.code(status).send({ error: { code, message } });
      if (!request.query['api-version'])
        return fail(400, 'MissingApiVersionParameter', 'The api-version query parameter (?api-version=) is required for all requests.');
      const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
      const caller = await jwtVerify(token ?? '', keys.find, { audience: ARM, algorithms: ['RS256'] }).then(
        ({ payload }) => ({ tenantId: String(payload['tid']), clientId: String(payload['appid']) }),
        () => null,
      );
      if (!caller) return fail(401, 'InvalidAuthenticationToken', 'The access token is invalid.');
      const { s, rg, app: name } = request.params;
      const app = apps.find(`/subscriptions/${s}/resourceGroups/${rg}/providers/Microsoft.Solutions/applications/${name}`);
      if (!app) return fail(404, 'ResourceNotFound', `The Resource 'Microsoft.Solutions/applications/${name}' was not found.`);
      const offer = offerOf(settings(), app.offerId);
      if (!isAppOf(caller, offer, settings()))
        return fail(403, 'AuthorizationFailed', `The client '${caller.clientId}' does not have authorization to read the application.`);
      return {
        id: app.applicationId,
        name,
        type: 'Microsoft.Solutions/applications',
        kind: 'MarketPlace',
        location: 'westeurope',
        plan: { name: app.planId, product: app.offerId, publisher: offer!.publisherId, version: '1.0.1' },
        properties: {
          provisioningState: app.provisioningState,
          managedResourceGroupId: `/subscriptions/${s}/resourceGroups/${name}-managed`,
          billingDetails: { resourceUsageId: app.resourceUsageId },
          publisherTenantId: tenantOfOffer(settings(), offer!),
        },
      };
    },
  );
}

/** Under /sandbox/azure. */
export function managedControlRoutes(scope: FastifyInstance, apps: ManagedApps): void {
  scope.post('/managed-applications', (request, reply) => {
    const { resourceUsageId, applicationId } = apps.create(parseBody(managedAppBody, request.body));
    return reply.code(201).send({ resourceUsageId, applicationId });
  });
  scope.get('/managed-applications', () => ({ items: apps.list() }));
  scope.get<{ Params: { id: string } }>('/managed-applications/:id', (request) => apps.view(request.params.id));
  scope.post<{ Params: { id: string; action: string } }>('/managed-applications/:id/:action', (request, reply) => {
    const { id, action } = request.params;
    apps.act(id, action, parseBody(actionBody, request.body ?? {}).planId);
    return reply.code(202).send({ resourceUsageId: id });
  });
  scope.post('/managed-notifications', (request) => {
    const { body, sig } = parseBody(managedNotificationBody, request.body);
    return apps.deliver(body, sig);
  });
}
