import { attemptFaultKinds, type Faults, tokenFaultKinds } from './faults.js';
import type { BrokenWay } from './post-notification.js';

/** What happens to one notification on its way. */
export interface Struck {
  /** It never comes, and the marketplace holds it for delivered. */
  isLost: boolean;
  /** Sent this many more times, the same bytes. */
  repeats: number;
  /** Goes out after the next one. */
  isReordered: boolean;
  /** Late by this much business time. */
  delayMs: number;
}

/** What happens to one attempt: how its body comes, and how its token was minted. */
export interface StruckAttempt {
  way: BrokenWay | undefined;
  token: TokenFault;
}

export interface TokenFault {
  isExpired: boolean;
  /** By how much its times are off; the marketplace's clock is not ours. */
  skewMs: number;
}

export function strikeAttempt(faults: Faults, marketplace: string, name: string): StruckAttempt {
  const way = faults.take(marketplace, name, attemptFaultKinds);
  const token = faults.take(marketplace, name, tokenFaultKinds);
  return {
    way,
    token: { isExpired: token?.kind === 'expired_token_notification', skewMs: token?.kind === 'skew_notification' ? token.skewMs : 0 },
  };
}

const DELAY_MS = 60_000;

/** One rule of each kind may strike the same notification; of a lost one nothing is left to strike. */
export function strikeNotification(faults: Faults, marketplace: string, name: string): Struck {
  if (faults.take(marketplace, name, ['lose_notification'])) return { isLost: true, repeats: 0, isReordered: false, delayMs: 0 };
  const isDouble = faults.take(marketplace, name, ['duplicate_notification']) !== undefined;
  const isReordered = faults.take(marketplace, name, ['reorder_notification']) !== undefined;
  const late = faults.take(marketplace, name, ['delay_notification']);
  return { isLost: false, repeats: isDouble ? 1 : 0, isReordered, delayMs: late ? (late.delayMs ?? DELAY_MS) : 0 };
}
