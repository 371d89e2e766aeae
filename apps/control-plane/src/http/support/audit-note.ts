import type { Tx } from '#platform';
import type { Audit, Principal } from '#tenancy';

/** Whose key it was, as the audit trail names it. */
export const actorOf = (caller: Principal): string => `${caller.kind}:${caller.keyId}`;

/** What the caller does, noted in the transaction that does it. With a `tenantId` it is that tenant's entry, too. */
export function auditNote(
  audit: Audit,
  tx: Tx,
  caller: Principal,
  did: { action: string; subject: string; detail?: Record<string, unknown>; tenantId?: string | null },
): Promise<void> {
  return audit.record(tx, { tenantId: null, actor: actorOf(caller), ...did });
}
