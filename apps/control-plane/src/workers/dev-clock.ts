import { randomBytes } from 'node:crypto';
import {
  GuardedHttp,
  hostsOf,
  ProblemError,
  sameSecret,
  type BerthConfig,
  type Logger,
  type OffsetClock,
  type TaskRunner,
} from '#platform';

/**
 * This process as a participant of the development clock (docs/guides/clock-protocol.md). Exists only with a sandbox, which
 * configuration allows only while every endpoint is on this machine.
 */
export class DevClock {
  private readonly token = randomBytes(24).toString('base64url');
  private readonly name: string;
  private readonly http: GuardedHttp;

  constructor(
    private readonly config: BerthConfig,
    private readonly clock: OffsetClock,
    private readonly runner: TaskRunner,
    private readonly logger: Logger,
  ) {
    this.name = `control-plane:${config.role}:${config.role === 'all' ? 'one' : process.pid}`;
    this.http = new GuardedHttp({ allow: hostsOf([config.sandboxUrl ?? undefined]) });
  }

  async join(ownUrl: string): Promise<void> {
    const answer = await this.http
      .request({
        method: 'POST',
        url: `${this.config.sandboxUrl}/sandbox/clock/participants`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: this.name, url: `${ownUrl}/dev/clock`, token: this.token, order: 20 }),
        timeoutMs: 5_000,
      })
      .catch((error: unknown) => {
        throw new Error(
          `the sandbox at ${this.config.sandboxUrl} does not answer (${(error as Error).message}). Start it first, or unset BERTH_SANDBOX_URL`,
        );
      });
    if (answer.status >= 300)
      throw new Error(`the sandbox refused this process as a clock participant: ${answer.status} ${answer.text.slice(0, 200)}`);
    const { offsetMs, generation } = JSON.parse(answer.text) as { offsetMs: number; generation: number };
    this.clock.apply(offsetMs, generation);
    this.logger.debug({ offsetMs, generation }, 'joined the development clock');
  }

  async leave(): Promise<void> {
    await this.http
      .request({
        method: 'DELETE',
        url: `${this.config.sandboxUrl}/sandbox/clock/participants/${encodeURIComponent(this.name)}`,
        timeoutMs: 2_000,
      })
      .catch(() => undefined);
  }

  async handle(authorization: string | undefined, body: unknown): Promise<{ worked?: boolean }> {
    if (!sameSecret(authorization ?? '', `Bearer ${this.token}`))
      throw new ProblemError('unauthenticated', 'clock.token_invalid', 'Only the owner of the development clock may set it.');
    const b = body as { phase?: string; offsetMs?: number; generation?: number };
    if (b.phase === 'set' && typeof b.offsetMs === 'number') {
      this.clock.apply(b.offsetMs, b.generation ?? 0);
      return {};
    }
    if (b.phase === 'settle') return { worked: this.config.role === 'api' ? false : await this.runner.drain() };
    throw new ProblemError('validation', 'clock.phase_unknown', 'phase must be "set" (with offsetMs) or "settle".');
  }
}
