import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Database, Tx } from '#platform';
import type { Principal } from '#tenancy';
import type { AuthenticatedRequest } from './auth.guard.js';

/** The authenticated caller of a route that has `Allow`. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const principal = context.switchToHttp().getRequest<AuthenticatedRequest>().principal;
  if (!principal) throw new Error('a route asked for its caller without Allow(...)');
  return principal;
});

/** Runs under the caller's own database role: a tenant's transaction cannot see another's rows whatever the query says. */
export function scoped<T>(db: Database, principal: Principal, work: (tx: Tx) => Promise<T>): Promise<T> {
  return principal.kind === 'tenant' ? db.tenant(principal.tenantId, work) : db.ops(work);
}
