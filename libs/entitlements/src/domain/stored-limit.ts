/** How much a placement was last told to hold, and when that was. */
export interface StoredTold {
  bytes: bigint;
  at: Date;
}

/** Sources tell every five minutes. So long what was told last counts as what is stored now; milliseconds. */
export const STORED_TOLD_FOR_MS = 3_600_000;

/**
 * Whether what is stored fits into less than is allowed now. Silence deletes nothing: what was too much when it was last told is too
 * much however long ago that was. What fitted then may have grown, so that after a while it is `unknown`. Where nothing was ever
 * told, or nothing was there, nothing speaks against it: our own lack of a figure keeps nobody from a smaller plan.
 */
export function judgeStored(told: StoredTold | null, allowed: bigint, now: Date): 'fits' | 'more' | 'unknown' {
  if (told === null) return 'fits';
  if (told.bytes > allowed) return 'more';
  return told.bytes > 0n && now.getTime() - told.at.getTime() > STORED_TOLD_FOR_MS ? 'unknown' : 'fits';
}
