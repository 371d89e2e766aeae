import { closeUnanswered } from '#entitlements';
import type { ProcessContext } from '../processes/context.js';

const LOOK_EVERY_MS = 5 * 60_000;

/** Closes requests for cancellation that nobody answered in time: AWS has approved them by itself (contract aws §4.1). */
export class NoticeClock {
  private lookAt = 0;

  constructor(private readonly p: ProcessContext) {}

  /** Answers how many it closed. */
  async tick(): Promise<number> {
    const now = this.p.clock.now();
    if (now.getTime() < this.lookAt) return 0;
    this.lookAt = now.getTime() + LOOK_EVERY_MS;
    return this.p.db.ops(async (tx) => {
      const closed = await closeUnanswered(tx, now);
      for (const notice of closed)
        await this.p.audit.record(tx, {
          tenantId: null,
          actor: 'control plane',
          action: 'notice.closed',
          subject: `notice:${notice.notice_id}`,
          detail: { externalId: notice.external_id, status: notice.status, dueAt: notice.due_at },
        });
      return closed.length;
    });
  }
}
