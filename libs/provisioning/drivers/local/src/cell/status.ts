/** What a cell tells about itself. */
import type { CellPlacementStatus, CellStatus } from '../wire.js';
import type { Journal } from './journal.js';
import type { QuotaGate } from './quota.js';
import type { Tenants } from './tenants.js';

export function statusOf(tenants: Tenants, journal: Journal, quota: QuotaGate): Pick<CellStatus, 'generation' | 'placements'> {
  const { desired } = tenants;
  const placements = Object.entries(desired.accounts).map(([placementId, accountName]): CellPlacementStatus => {
    const c = journal.of(placementId);
    return {
      placementId,
      accountName,
      state: tenants.listed(placementId)?.state ?? 'closed',
      storedBytes: quota.read(accountName).toString(),
      counters: { ingressBytes: c.ingressBytes.toString(), egressBytes: c.egressBytes.toString(), requests: c.requests.toString() },
    };
  });
  return { generation: desired.generation, placements };
}

export function meteringOf(journal: Journal): Omit<CellStatus['metering'], 'lastSampleAt' | 'lastError'> {
  return {
    epoch: journal.epoch,
    sequence: journal.sequence.toString(),
    backlog: journal.backlog.length,
    oldestBacklogAt: journal.backlog[0]?.time ?? null,
    refused: journal.refused,
    dropped: journal.dropped,
  };
}
