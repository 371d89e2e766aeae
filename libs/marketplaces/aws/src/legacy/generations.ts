import type { RecallRefs } from '#marketplaces/core';
import { legacyIdOf, type LegacyRefs, readLegacyRefs } from './legacy-refs.js';

const MOST = 1_000;

/**
 * Which of a customer's subscriptions a message of this time is about. AWS names them all alike; a subscription that has ended here
 * is not opened again, so one that begins after that is a purchase of its own. `begins`: the message can begin one.
 */
export async function generationOf(
  productCode: string,
  customerIdentifier: string,
  { at, begins, recall }: { at: string; begins: boolean; recall: RecallRefs | undefined },
): Promise<number> {
  const known = async (n: number): Promise<LegacyRefs | null> =>
    readLegacyRefs((await recall?.(legacyIdOf(productCode, customerIdentifier, n))) ?? null);
  for (let n = 1, one = await known(1); n < MOST; n++) {
    if (!one || one.endedAt === null || at <= one.endedAt) return n;
    const next = await known(n + 1);
    // Nobody has subscribed again: what comes after the end still belongs to what has ended.
    if (!next && !begins) return n;
    one = next;
  }
  return MOST;
}
