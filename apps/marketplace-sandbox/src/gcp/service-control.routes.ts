import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { parseExact } from '../shared/exact-json.js';
import type { GcpContext } from './context.js';
import { GcpError, invalid } from './errors.js';
import { readOperation } from './operations.js';
import { leftForLater } from '../shared/faults.js';
import type { ReportError, ServiceControl } from './service-control.js';

const MAX_BYTES = 1024 * 1024;
const MAX_OPERATIONS = 1000;
const SERVICE = '/v1/services/:serviceName(^[^:/]+)';

/** google.rpc.Code UNAVAILABLE: nothing was counted, the same operation may be reported again (contract gcp §4). */
const left = (operationId: string): ReportError => ({
  operationId,
  status: { code: 14, message: 'The service is currently unavailable.' },
});

type Named = { Params: { serviceName: string } };

/** Contract gcp §4. Registered under /gcp/servicecontrol. */
export function serviceControlRoutes(scope: FastifyInstance, context: GcpContext, control: ServiceControl): void {
  const { settings } = context;
  const config = (): object => {
    const id = createHash('sha256').update(JSON.stringify(settings().plans)).digest('hex').slice(0, 8);
    return { serviceConfigId: `2026-01-01r${parseInt(id, 16) % 10}`, serviceRolloutId: `2026-01-01r${parseInt(id, 16) % 10}` };
  };

  function body(request: FastifyRequest<Named>, field: 'operation' | 'operations'): unknown {
    const { serviceName } = request.params;
    if (serviceName !== settings().serviceName) throw new GcpError('NOT_FOUND', `Service '${serviceName}' not found or permission denied.`);
    const text = request.bodyText ?? '';
    if (Buffer.byteLength(text) > MAX_BYTES) throw invalid('Request payload size exceeds the limit: 1048576 bytes.');
    const parsed = text ? parseExact(text) : undefined;
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw invalid('Invalid JSON payload received. Root element must be a message.');
    for (const name of Object.keys(parsed)) {
      if (name !== field && name !== 'serviceConfigId')
        throw invalid(`Invalid JSON payload received. Unknown name "${name}": Cannot find field.`);
    }
    return (parsed as Record<string, unknown>)[field];
  }

  scope.post<Named>(`${SERVICE}::check`, { config: { operation: 'check' } }, (request) => {
    const operation = readOperation(body(request, 'operation'), 'check', settings());
    const error = control.check(operation);
    return { operationId: operation.operationId, ...(error ? { checkErrors: [error] } : {}), ...config() };
  });

  scope.post<Named>(`${SERVICE}::report`, { config: { operation: 'report' } }, (request) => {
    const items = body(request, 'operations');
    if (!Array.isArray(items) || items.length === 0) throw invalid('operations are required.');
    if (items.length > MAX_OPERATIONS) throw invalid(`Too many operations: ${items.length}; the maximum is ${MAX_OPERATIONS}.`);
    // Every operation is read before any is taken: a bad one spoils the request.
    const operations = items.map((raw: unknown) => ({ raw, operation: readOperation(raw, 'report', settings()) }));
    const ids = new Set(operations.map(({ operation }) => operation.operationId));
    if (ids.size !== operations.length) throw invalid('Duplicate operation_id in the request.');
    const taken = operations.length - leftForLater(context.faults, 'gcp', 'report', operations.length);
    const reportErrors = operations
      .map(({ raw, operation }, index) => (index < taken ? control.report(operation, raw) : left(operation.operationId)))
      .filter((error) => error !== undefined);
    return { ...(reportErrors.length ? { reportErrors } : {}), ...config() };
  });
}
