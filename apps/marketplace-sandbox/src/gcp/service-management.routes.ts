import type { FastifyInstance } from 'fastify';
import type { GcpContext } from './context.js';
import { GcpError, notFound } from './errors.js';

/**
 * The live configuration of the service (contract gcp §4: the type of a metric differs per plan and is read from it). Registered
 * under /gcp/servicemanagement; only what tells of metrics is answered.
 */
export function serviceManagementRoutes(scope: FastifyInstance, context: GcpContext): void {
  scope.get<{ Params: { service: string } }>('/v1/services/:service/config', { config: { operation: 'getServiceConfig' } }, (request) => {
    const { serviceName, plans, configReadable } = context.settings();
    if (request.params.service !== serviceName) throw notFound();
    if (!configReadable) throw new GcpError('PERMISSION_DENIED', 'The caller does not have permission');
    const metrics = new Map(plans.flatMap((plan) => plan.metrics).map((metric) => [metric.id, metric]));
    return {
      name: serviceName,
      id: '2026-01-01r0',
      metrics: [...metrics.values()].map(({ id, displayName, type }) => ({
        name: id,
        metricKind: 'DELTA',
        valueType: type,
        ...(displayName ? { displayName } : {}),
      })),
    };
  });
}
