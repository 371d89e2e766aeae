import type { Tx } from '#platform';
import { FORCED_WITHIN_MS } from '../domain/breaker.js';
import type { GateChange } from '../infra/gates.sql.js';
import { nextDeadline } from '../infra/items.sql.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings, settleFinding, type NewFinding } from './findings.js';

/** A person needs some time before the forced probes begin. */
const TOLD_WITHIN_MS = 4 * FORCED_WITHIN_MS;

const keyOf = (marketplace: string, gate: string, since: Date): string =>
  `marketplace_stuck:gate:${marketplace}:${gate}:${since.toISOString()}`;

/**
 * A breaker is open while a hard deadline comes near: a person is told once, and the finding is settled when the marketplace answers
 * again. Logs and counts every change of state.
 */
export async function tellOfGate(tx: Tx, deps: MeteringDeps, { before, after }: GateChange): Promise<void> {
  const { marketplace, gate } = before;
  if (before.state === 'closed' && after.state === 'open') {
    deps.logger.warn({ marketplace, gate, err: after.reason }, 'a marketplace is left alone for a while');
    deps.metrics
      ?.counter('berth_breaker_opened_total', 'How often a marketplace was left alone', ['marketplace', 'gate'])
      .inc({ marketplace, gate });
  }
  if (after.state === 'open' && after.since) {
    const now = deps.clock.now();
    const deadline = await nextDeadline(tx, now, marketplace, gate);
    if (deadline && +deadline - +now <= TOLD_WITHIN_MS)
      await raiseFindings(tx, deps.clock, [stuck(marketplace, gate, after.since, deadline, after.reason)]);
  }
  if (before.state !== 'closed' && after.state === 'closed' && before.since) {
    const [finding] = await tx.query<{ finding_id: string }>(
      'select finding_id from findings where dedupe_key = $1 and settlement is null',
      [keyOf(marketplace, gate, before.since)],
    );
    if (finding)
      await settleFinding(tx, deps.clock, {
        findingId: finding.finding_id,
        words: {
          kind: 'release',
          actor: 'metering',
          reason: 'the marketplace answers again; what missed its deadline is a finding of its own',
        },
      });
  }
}

const stuck = (marketplace: string, gate: string, since: Date, deadline: Date, why: string | null): NewFinding => ({
  kind: 'marketplace_stuck',
  dedupeKey: keyOf(marketplace, gate, since),
  deadline,
  evidence: {
    marketplace,
    ...(gate === '' ? {} : { gate }),
    what: 'usage is not taken, and its deadline is near',
    since: since.toISOString(),
    why,
    remedy: `berth doctor ${marketplace}`,
  },
});
