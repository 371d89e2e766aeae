import pg from 'pg';
import { Gather } from './gather.js';
import type { Nudger } from './nudger.js';
import type { Logger } from '../logging.js';

const CHANNEL = 'berth_tasks';
const RETRY_MS = 1_000;

/**
 * LISTEN/NOTIFY on a connection of its own (a transaction pooler would break it), made at the start or, in a process that
 * only enqueues, at the first nudge. It is dialled again until it is back; a lost NOTIFY costs one poll.
 */
export class PgNudger implements Nudger {
  readonly mode = 'poller';
  private connection: Promise<pg.Client> | undefined;
  private retry: NodeJS.Timeout | undefined;
  private stopped = false;
  private readonly gather = new Gather();
  private wake: () => void = () => {};

  constructor(
    private readonly url: string,
    private readonly logger: Logger,
  ) {}

  nudge(_taskId: string, delayMs: number): void {
    if (delayMs > 0 || this.stopped) return; // the poller finds a task that becomes due later
    // A task of this very process needs no round trip; other workers are told.
    this.wake();
    this.gather.soon(
      () =>
        void this.connect()
          .then((client) => client.query('select pg_notify($1, $2)', [CHANNEL, '']))
          .catch(() => undefined),
    );
  }

  async start(wake: () => void): Promise<void> {
    this.wake = wake;
    await this.connect();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.retry);
    this.gather.stop();
    await this.connection?.then((client) => client.end()).catch(() => undefined);
  }

  private connect(): Promise<pg.Client> {
    return (this.connection ??= this.dial());
  }

  private async dial(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.url,
      application_name: 'berth-nudger',
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
    });
    let lost = false;
    const again = (why: string): void => {
      if (lost || this.stopped) return;
      lost = true;
      this.connection = undefined;
      this.logger.warn({ err: why }, 'the listener lost its connection; polling goes on');
      this.retry = setTimeout(
        () =>
          void this.connect()
            .then(() => this.wake())
            .catch(() => undefined),
        RETRY_MS,
      ).unref();
    };
    client.on('error', (error) => again(error.message));
    client.on('end', () => again('connection ended'));
    client.on('notification', () => this.wake());
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      return client;
    } catch (error) {
      again((error as Error).message);
      throw error;
    }
  }
}
