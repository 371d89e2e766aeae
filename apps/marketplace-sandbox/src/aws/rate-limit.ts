/** Calls per second and key, in real time: a rolling window (contract aws §5.1). */
export class RateLimit {
  private readonly seen = new Map<string, number[]>();

  /** False when the caller has used its second up; a refused call does not count. */
  take(key: string, perSecond: number, realNowMs: number): boolean {
    const recent = (this.seen.get(key) ?? []).filter((at) => realNowMs - at < 1000);
    const isAllowed = recent.length < perSecond;
    if (isAllowed) recent.push(realNowMs);
    this.seen.set(key, recent);
    return isAllowed;
  }
}
