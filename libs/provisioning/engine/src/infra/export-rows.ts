import { ProblemError, uuidv7, type Tx } from '#platform';
import type { ExportState } from '../domain/export-check.js';
import type { PlacementRow } from './rows.js';

/** As `to_jsonb` gives it: instants and amounts are text. */
export interface ExportRow {
  check_id: string;
  placement_id: string;
  state: ExportState;
  stored_bytes: string | null;
  seen_at: string | null;
  reason: string;
  decided_by: string;
  decided_at: string;
  hold_until: string | null;
  access_until: string | null;
}

const COLUMNS = `check_id, placement_id, state, stored_bytes::text, seen_at, reason, decided_by, decided_at, hold_until, access_until`;
/** The newest check of the placement of the outer query, as one value. */
export const NEWEST_EXPORT = `(select to_jsonb(e) from (select ${COLUMNS} from export_checks x
   where x.placement_id = placements.placement_id order by x.position desc limit 1) e)`;

export async function newestExport(tx: Tx, placementId: string): Promise<ExportRow | null> {
  const [row] = await tx.query<{ export: ExportRow | null }>(`select ${NEWEST_EXPORT} as export from placements where placement_id = $1`, [
    placementId,
  ]);
  return row?.export ?? null;
}

export async function insertExport(
  tx: Tx,
  placement: Pick<PlacementRow, 'placement_id' | 'tenant_id' | 'subscription_id'>,
  check: {
    state: ExportState;
    storedBytes: string | null;
    seenAt: Date | string | null;
    reason: string;
    by: string;
    at: Date;
    holdUntil: Date | string | null;
    accessUntil: Date | string | null;
  },
): Promise<void> {
  await tx.query(
    `insert into export_checks (check_id, tenant_id, subscription_id, placement_id, state, stored_bytes, seen_at, reason, decided_by, decided_at,
                                hold_until, access_until)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      uuidv7(),
      placement.tenant_id,
      placement.subscription_id,
      placement.placement_id,
      check.state,
      check.storedBytes,
      check.seenAt,
      check.reason,
      check.by,
      check.at,
      check.holdUntil,
      check.accessUntil,
    ],
  );
}

/** `placement.export_open`: nobody has said that the data was taken along, is not wanted, or was never there. */
export async function assertExportDecided(tx: Tx, placementId: string): Promise<void> {
  const check = await newestExport(tx, placementId);
  if (check && check.state !== 'open') return;
  throw new ProblemError('conflict', 'placement.export_open', 'Nobody has decided yet that its data has been taken along.', {
    export: check?.state ?? null,
  });
}
