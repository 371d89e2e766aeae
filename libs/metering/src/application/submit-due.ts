import { errorText } from '#platform';
import { MarketplaceRefusal, type Marketplace } from '#marketplaces/core';
import { readMeteredSubscriptions } from '#entitlements';
import { DeadlineQueue } from '../domain/deadline-queue.js';
import { Gates } from '../infra/gates.sql.js';
import { nextDeadline } from '../infra/items.sql.js';
import { ClaimWave } from './claim-wave.js';
import type { MeteringDeps } from './deps.js';
import { expireItems } from './expire-items.js';
import { credentialsRefused, raiseFindings } from './findings.js';
import { SendBatch } from './send-batch.js';
import { SubmitPass } from './submit-pass.js';
import { settleClosing } from './settle.js';

/** Transactions of all marketplaces' passes at once: the rest of the pool is for closing hours and for people. */
const WORKS_AT_ONCE = 2;

/**
 * Sends what is due: earliest hard deadline first, intent before and outcome after, bytes stored once (architecture §5.10).
 * Each marketplace has passes of its own, one at a time: a slow one delays neither the others nor the closing of hours. What the
 * passes share, the database, goes by hard deadline over all marketplaces.
 */
export class SubmitDue {
  private readonly passes = new Map<Marketplace, Promise<number>>();
  private readonly turns = new DeadlineQueue(WORKS_AT_ONCE);
  private readonly gates: Gates;
  private readonly claims: ClaimWave;
  private readonly sender: SendBatch;

  constructor(private readonly deps: MeteringDeps) {
    this.gates = new Gates(deps.clock, deps.options?.realNow);
    this.claims = new ClaimWave(deps, this.gates);
    this.sender = new SendBatch(deps, this.gates, this.turns);
  }

  /** Everything once, for callers that have no clocks. */
  async run(): Promise<number> {
    const swept = await this.sweep();
    const sent = await Promise.all(this.deps.marketplaces.all().map((a) => this.pass(a.marketplace)));
    return sent.reduce((sum, n) => sum + n, swept);
  }

  /** Rows only, no marketplace is asked: names what missed its deadline, lets go what was held for a suspension. */
  async sweep(): Promise<number> {
    const done = (await expireItems(this.deps)) + (await this.releaseSuspended());
    return done > 0 ? done + (await settleClosing(this.deps)) : 0;
  }

  /** Sends what is due at one marketplace; a call during a pass joins it. */
  pass(marketplace: Marketplace): Promise<number> {
    let pass = this.passes.get(marketplace);
    if (!pass) {
      pass = this.sendAll(marketplace).finally(() => this.passes.delete(marketplace));
      this.passes.set(marketplace, pass);
    }
    return pass;
  }

  private async sendAll(marketplace: Marketplace): Promise<number> {
    const deadline = await this.deps.db.ops((tx) => nextDeadline(tx, this.deps.clock.now(), marketplace));
    if (deadline === null) return 0;
    await this.prepare(marketplace);
    const { deps, gates, turns, claims, sender } = this;
    const done = await new SubmitPass({ deps, gates, turns, claims, sender }, marketplace, deadline).run();
    return done > 0 ? done + (await settleClosing(this.deps)) : 0;
  }

  /** Without it items wait unbuilt, which loses nothing until their deadline; a definite no needs a person before that. */
  private async prepare(marketplace: Marketplace): Promise<void> {
    try {
      await this.deps.marketplaces.get(marketplace).prepareUsage?.();
    } catch (error) {
      this.deps.logger.warn({ marketplace, err: errorText(error) }, 'what usage items need could not be read');
      if (error instanceof MarketplaceRefusal)
        await this.deps.db.ops((tx) =>
          raiseFindings(tx, this.deps.clock, [credentialsRefused(marketplace, this.deps.clock.now(), error.message)]),
        );
    }
  }

  /** After reinstatement, or when the target deadline has passed: "not active" is no final answer, so asking costs nothing. */
  private releaseSuspended(): Promise<number> {
    return this.deps.db.ops(async (tx) => {
      const held = await tx.query<{ item_id: string; subscription_id: string; target_at: Date }>(
        `select item_id, subscription_id, target_at from submission_items where state = 'held' and hold_reason = 'suspended' and settled_at is null for update skip locked`,
      );
      if (held.length === 0) return 0;
      const suspended = new Set(
        (await readMeteredSubscriptions(tx, { subscriptionIds: held.map((h) => h.subscription_id) }))
          .filter((s) => s.state === 'suspended')
          .map((s) => s.subscriptionId),
      );
      const free = held.filter((h) => !suspended.has(h.subscription_id) || h.target_at <= this.deps.clock.now());
      await tx.query(
        `update submission_items set state = 'pending', hold_reason = null, next_attempt_at = $2 where item_id = any($1::uuid[])`,
        [free.map((f) => f.item_id), this.deps.clock.now()],
      );
      return free.length;
    });
  }
}
