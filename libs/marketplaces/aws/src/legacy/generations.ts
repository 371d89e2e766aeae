import type { RecallRefs } from '#marketplaces/core';
import { isVoided, legacyIdOf, type LegacyRefs, readLegacyRefs } from './legacy-refs.js';

const MOST = 1_000;

/**
 * Which of a customer's subscriptions a message of this time is about. AWS names them all alike; a subscription that has ended here,
 * or whose payment failed, is not opened again, so one that begins after that is a purchase of its own. `begins`: the message can
 * begin one.
 */
export async function generationOf(
  productCode: string,
  customerIdentifier: string,
  { at, begins, recall }: { at: string; begins: boolean; recall: RecallRefs | undefined },
): Promise<number> {
  const known = async (n: number): Promise<LegacyRefs | null> =>
    readLegacyRefs((await recall?.(legacyIdOf(productCode, customerIdentifier, n))) ?? null);
  for (let n = 1, one = await known(1); n < MOST; n++) {
    const overAt = one && (one.endedAt ?? (isVoided(one) ? one.failedAt : null));
    if (!one || overAt === null) return n;
    // A success is never of what has failed, also one that is told late: what was paid is served.
    if (at <= overAt! && !(begins && isVoided(one))) return n;
    const next = await known(n + 1);
    // Nobody has subscribed again: what comes after the end still belongs to what has ended.
    if (!next && !begins) return n;
    one = next;
  }
  return MOST;
}
