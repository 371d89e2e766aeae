/**
 * The cell's business clock and its part of the clock protocol (guide clock-protocol). The offset is kept on disk, so
 * that a restart without the clock's owner does not go back in time.
 */
import { readJson, writeJsonAtomic } from '../files.js';
import type { ClockTarget } from '../wire.js';

const REGISTER_TIMEOUT_MS = 2000;
/** A restarted owner has forgotten its participants: look now and then whether we are still known. */
const HEARTBEAT_MS = 3000;
const ORDER = 10;

interface Kept {
  readonly offsetMs: number;
}

export function isLoopback(url: string): boolean {
  return URL.canParse(url) && ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(url).hostname);
}

export class BusinessClock {
  private offsetMs: number;
  private target: ClockTarget | null = null;
  private timer: NodeJS.Timeout | undefined;
  private registered = false;

  /** `self` is how the owner reaches us. */
  constructor(
    private readonly path: string,
    private readonly self: { readonly name: string; readonly url: string; readonly token: string },
  ) {
    this.offsetMs = readJson<Kept>(path)?.offsetMs ?? 0;
  }

  now(): Date {
    // A cell loads nothing of #platform (memory, start-up), so this is its one reading of the wall clock.
    // eslint-disable-next-line no-restricted-syntax
    return new Date(Date.now() + this.offsetMs);
  }

  /** Forward only. True when time jumped. */
  apply(offsetMs: unknown): boolean {
    if (typeof offsetMs !== 'number' || !Number.isSafeInteger(offsetMs) || offsetMs <= this.offsetMs) return false;
    this.offsetMs = offsetMs;
    writeJsonAtomic(this.path, { offsetMs } satisfies Kept);
    return true;
  }

  /** Registers before it resolves, if the owner answers; goes on trying if not. */
  async follow(target: ClockTarget | null): Promise<void> {
    if (this.target?.url === target?.url && this.target?.token === target?.token) return;
    await this.leave();
    this.target = target;
    if (!target) return;
    await this.register();
    this.timer = setInterval(() => void this.heartbeat(), HEARTBEAT_MS).unref();
  }

  async leave(): Promise<void> {
    clearInterval(this.timer);
    const { target, registered } = this;
    this.target = null;
    this.registered = false;
    if (target && registered)
      await this.call(target, 'DELETE', `/participants/${encodeURIComponent(this.self.name)}`).catch(() => undefined);
  }

  private async register(): Promise<void> {
    const { target } = this;
    if (!target) return;
    try {
      const answer = await this.call(target, 'POST', '/participants', { ...this.self, order: ORDER });
      if (this.target !== target) return;
      this.apply((answer as { offsetMs?: unknown }).offsetMs);
      this.registered = true;
    } catch {
      this.registered = false;
    }
  }

  private async heartbeat(): Promise<void> {
    const { target } = this;
    if (!target) return;
    try {
      const seen = (await this.call(target, 'GET', '')) as { participants?: readonly { readonly name?: unknown }[] };
      if (!seen.participants?.some((p) => p.name === this.self.name)) await this.register();
    } catch {
      this.registered = false;
    }
  }

  private async call(target: ClockTarget, method: string, path: string, body?: unknown): Promise<unknown> {
    const base = target.url.replace(/\/+$/, '').replace(/\/sandbox\/clock$/, '');
    const response = await fetch(`${base}/sandbox/clock${path}`, {
      method,
      headers: {
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(target.token ? { authorization: `Bearer ${target.token}` } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      redirect: 'error',
      signal: AbortSignal.timeout(REGISTER_TIMEOUT_MS),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`clock owner answered ${response.status}`);
    return text === '' ? {} : JSON.parse(text);
  }
}
