import { equalDecimals, type Tx } from '#platform';
import type { BillingAdjustment } from '#marketplaces/core';
import { endCredit, listOpenForAdjustment, type CreditRow } from './credits.js';
import type { MeteringDeps } from './deps.js';

/** The marketplace's last word on a correction of a bill. */
export interface ToldAdjustment {
  marketplace: string;
  /** Its id there. */
  externalId: string;
  /** Purchases that it may be about; null where it names none that is known. */
  subscriptionIds: string[] | null;
  adjustment: BillingAdjustment;
}
export type FoldedAdjustment =
  | { result: 'applied'; credit: CreditRow }
  /** It was said before, or by a person. */
  | { result: 'known'; credit: CreditRow }
  /** No credit of ours waits for it. */
  | { result: 'unmatched' }
  /** Ours wait, and it does not tell which of them it is, or what was given. */
  | { result: 'undecided'; why: string };

/**
 * Folds the outcome of a billing adjustment into the credit that asked for it (money.md "Corrections after the receipt"): the one
 * that names its id, else the open one of its invoice, by its amount where there are several. What cannot be told apart is left to
 * a person. The amount given back is theirs.
 */
export async function foldAdjustment(tx: Tx, deps: MeteringDeps, told: ToldAdjustment): Promise<FoldedAdjustment> {
  const { externalId, adjustment } = told;
  const waiting = await listOpenForAdjustment(tx, { ...told, invoiceReference: adjustment.invoiceReference });
  const named = waiting.find((c) => c.external_reference === externalId);
  if (named && named.state !== 'open') return { result: 'known', credit: named };
  const open = waiting.filter((c) => c.state === 'open');
  const { amount, currency } = adjustment;
  const alike = open.filter((c) => c.amount !== null && amount !== null && c.currency === currency && equalDecimals(c.amount, amount));
  const credit = named ?? (open.length === 1 ? open[0] : alike.length === 1 ? alike[0] : undefined);
  if (!credit)
    return open.length === 0
      ? { result: 'unmatched' }
      : { result: 'undecided', why: `${open.length} open credits of invoice ${adjustment.invoiceReference} may be meant` };
  const completed = adjustment.outcome === 'completed';
  if (completed && (amount === null || currency === null)) return { result: 'undecided', why: 'it does not say what was given back' };
  const ended = await endCredit(tx, deps, {
    creditId: credit.credit_id,
    completed,
    reference: externalId,
    ...(completed ? { amount: amount!, currency: currency! } : {}),
    ...(adjustment.reason ? { note: adjustment.reason } : {}),
    by: told.marketplace,
  });
  return { result: 'applied', credit: ended };
}
