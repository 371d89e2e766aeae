import pg from 'pg';
import type { Nudger } from './nudger.js';
import type { Logger } from '../logging.js';

const CHANNEL = 'berth_tasks';

/** LISTEN/NOTIFY on a connection of its own (a transaction pooler would break it). Reconnects; a lost NOTIFY costs one poll. */
export class PgNudger implements Nudger {
  readonly mode = 'poller';
  private listener: pg.Client | undefined;
  private stopped = false;
  private wake: () => void = () => {};

  constructor(private readonly url: string, private readonly logger: Logger) {}

  nudge(_taskId: string, delayMs: number): void {
    if (delayMs > 0) return; // the poller finds a task that becomes due later
    // A task of this very process needs no round trip; other workers are told.
    this.wake();
    this.listener?.query('select pg_notify($1, $2)', [CHANNEL, '']).catch(() => undefined);
  }

  async start(wake: () => void): Promise<void> {
    this.wake = wake;
    await this.connect();
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({ connectionString: this.url, application_name: 'berth-nudger', keepAlive: true });
    client.on('error', (error) => {
      this.logger.warn({ err: error.message }, 'listener lost its connection; polling goes on');
      this.listener = undefined;
      if (!this.stopped) setTimeout(() => void this.connect().catch(() => undefined), 2_000).unref();
    });
    client.on('notification', () => this.wake());
    await client.connect();
    await client.query(`listen ${CHANNEL}`);
    this.listener = client;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.listener?.end().catch(() => undefined);
  }
}
