import type { Tx } from '#platform';
import type { FindingKind } from '#metering';
import type { ProcessContext } from './context.js';

/** What is over needs nobody any more: settles the open findings of a kind about one purchase. Answers how many. */
export async function settleOpenFindings(
  p: ProcessContext,
  tx: Tx,
  about: { readonly kind: FindingKind; readonly subscriptionId: string },
  why: { readonly actor: string; readonly reason: string },
): Promise<number> {
  const open = await tx.query<{ finding_id: string }>(
    'select finding_id from findings where kind = $1 and subscription_id = $2 and settlement is null',
    [about.kind, about.subscriptionId],
  );
  for (const { finding_id: findingId } of open) await p.metering.settleFinding(tx, { findingId, words: { kind: 'release', ...why } });
  return open.length;
}
