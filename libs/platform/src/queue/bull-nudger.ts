import Bull from 'bull';
import { Gather } from '../tasks/gather.js';
import type { Nudger } from '../tasks/nudger.js';
import type { Logger } from '../logging.js';

const UNSETTLED_KEPT = 1_000;

/**
 * Bull's timing and fan-out over Redis. A job is a task's id and a delay; everything that must not be lost is in Postgres,
 * so an emptied Redis costs at most one poll interval. `add` neither resolves nor rejects while Redis is away: it is never
 * awaited, and beyond a bound a nudge is dropped instead of being kept in memory until Redis is back.
 */
export class BullNudger implements Nudger {
  readonly mode = 'bull';
  private readonly queue: Bull.Queue<{ taskId: string }>;
  private failures = 0;
  private unsettled = 0;
  private readonly gather = new Gather();
  private wake: () => void = () => {};

  constructor(
    redisUrl: string,
    private readonly logger: Logger,
    queueName = 'berth-tasks',
  ) {
    this.queue = new Bull(queueName, redisUrl, {
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
      settings: { lockDuration: 30_000, maxStalledCount: 0 },
    });
    this.queue.on('error', (error) => {
      if (this.failures++ % 100 === 0) this.logger.warn({ err: error.message }, 'redis is not answering; the poller goes on alone');
    });
  }

  nudge(taskId: string, delayMs: number): void {
    if (delayMs > 0) return this.add(taskId, delayMs);
    // A task of this very process needs no round trip; other workers are told.
    this.wake();
    this.gather.soon(() => this.add(taskId, 0));
  }

  private add(taskId: string, delayMs: number): void {
    if (this.unsettled >= UNSETTLED_KEPT) return;
    this.unsettled += 1;
    this.queue
      .add({ taskId }, delayMs > 0 ? { delay: Math.min(delayMs, 86_400_000) } : {})
      .catch(() => undefined)
      .finally(() => (this.unsettled -= 1));
  }

  async start(wake: () => void): Promise<void> {
    this.wake = wake;
    void this.queue
      .process(4, async () => {
        wake();
      })
      .catch((error: unknown) => this.logger.warn({ err: String(error) }, 'bull stopped processing'));
  }

  async stop(): Promise<void> {
    this.gather.stop();
    await Promise.race([this.queue.close(true).catch(() => undefined), new Promise((r) => setTimeout(r, 1_000).unref())]);
  }
}
