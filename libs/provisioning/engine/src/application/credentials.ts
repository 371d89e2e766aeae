import type { Tx } from '#platform';
import type { PlacementKey } from '#provisioning/core';
import { newKeySecret } from '../domain/placement-choice.js';
import { credentialPurpose, type EngineContext } from './context.js';

export async function addKey(
  ctx: EngineContext,
  tx: Tx,
  key: { placementId: string; tenantId: string; keyId: string; now: Date },
): Promise<void> {
  await tx.query('insert into placement_credentials (placement_id, key_id, tenant_id, sealed, created_at) values ($1, $2, $3, $4, $5)', [
    key.placementId,
    key.keyId,
    key.tenantId,
    ctx.sealer.seal(newKeySecret(), credentialPurpose(key.placementId, key.keyId)),
    key.now,
  ]);
}

/** The keys of these placements, opened, oldest first. Secrets: for a driver or their owner, never for a log. */
export async function openKeys(
  ctx: Pick<EngineContext, 'sealer'>,
  tx: Tx,
  placementIds: readonly string[],
): Promise<Map<string, PlacementKey[]>> {
  const rows = await tx.query<{ placement_id: string; key_id: string; sealed: string }>(
    'select placement_id, key_id, sealed from placement_credentials where placement_id = any($1) order by placement_id, substr(key_id, 2)::integer',
    [placementIds],
  );
  const keys = new Map<string, PlacementKey[]>();
  for (const row of rows) {
    const key: PlacementKey = {
      id: row.key_id,
      secretBase64: ctx.sealer.open(row.sealed, credentialPurpose(row.placement_id, row.key_id)),
    };
    keys.set(row.placement_id, [...(keys.get(row.placement_id) ?? []), key]);
  }
  return keys;
}
