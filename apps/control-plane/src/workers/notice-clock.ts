import { closeUnanswered } from '#entitlements';
import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const LOOK_EVERY_MS = 5 * 60_000;

/** Closes requests for cancellation that nobody answered in time: AWS has approved them by itself (contract aws §4.1). */
export class NoticeClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected look(now: Date): Promise<number> {
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
