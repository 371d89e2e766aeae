import { setTimeout as delay } from 'node:timers/promises';
import { errorText, realNow, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, type UsageItemOutcome } from '#marketplaces/core';
import type { DeadlineQueue } from '../domain/deadline-queue.js';
import { beginAttempts, giveBack, holdOnTo, type Claimed } from '../infra/claims.sql.js';
import { refuseAttempts } from '../infra/items.sql.js';
import type { Gates } from '../infra/gates.sql.js';
import type { AttemptOutcome } from '../infra/answers.sql.js';
import { applyOutcomes } from './apply-outcomes.js';
import { leaseOf, rateOf, type MeteringDeps } from './deps.js';
import { tellOfGate } from './gate-findings.js';
import { WriteAnswers, type Answer } from './write-answers.js';

/** A refused connection, key or rate says nothing about the items: they wait. Anything else refused is about what was sent. */
const ABOUT_US = new Set([401, 403, 407, 408, 423, 425, 429]);
const isAboutUs = (status: number | undefined): boolean => status !== undefined && (ABOUT_US.has(status) || status >= 500);

/** So many culprits are looked for in one batch; the rest of it goes back and is regrouped without them. */
const CULPRITS_AT_ONCE = 3;
/** Each culprit costs at most two calls for each halving, and the batch itself one. */
export const callsFor = (items: number): number => 1 + CULPRITS_AT_ONCE * 2 * Math.ceil(Math.log2(Math.max(2, items)));

/** `written`: the outcome is committed. */
type Verdict = { kind: 'answered' | 'failed'; written: Promise<void> } | { kind: 'refused'; error: MarketplaceRefusal };

export interface Sent {
  /** The marketplace took or judged items. */
  well: boolean;
  /** What it said is committed; never before a bad one is told. */
  written: Promise<void>;
}

/** Sends one claimed batch and writes down what became of each item; a refused batch is halved until the culprit stands alone. */
export class SendBatch {
  private readonly answers: WriteAnswers;

  constructor(
    private readonly deps: MeteringDeps,
    private readonly gates: Gates,
    private readonly turns: DeadlineQueue,
  ) {
    this.answers = new WriteAnswers(deps, gates, turns);
  }

  /**
   * One bad item refuses a whole batch and is not named (AWS: one bad time stamp). Halves are sent until it stands alone; it is held
   * then, with a finding, and the rest has gone. The bytes of an item are those of before, only their company changes. At most
   * `callsFor(n)` calls; what is left then goes back.
   */
  async run(batch: Claimed[]): Promise<Sent> {
    const first = await this.attempt(batch);
    if (first.kind === 'refused') return { well: await this.bisect(batch, first.error), written: Promise.resolve() };
    // The breaker counts a failure before another batch can be claimed.
    if (first.kind === 'failed') await first.written;
    return { well: first.kind === 'answered', written: first.written };
  }

  /** Answers whether anything was taken or judged, and nothing failed. */
  private async bisect(batch: Claimed[], refusal: MarketplaceRefusal): Promise<boolean> {
    let parts: Claimed[][] = [batch];
    const alone: { item: Claimed; error: MarketplaceRefusal }[] = [];
    let answered = false;
    let failed = false;
    let calls = 0;
    let last = refusal;
    while (parts.length > 0 && !failed && calls < callsFor(batch.length)) {
      const part = calls === 0 ? parts.shift()! : await this.again(parts.shift()!);
      if (part.length === 0) continue;
      calls += 1;
      const verdict: Verdict = calls === 1 ? { kind: 'refused', error: refusal } : await this.attempt(part);
      if (verdict.kind !== 'refused') {
        await verdict.written;
        answered ||= verdict.kind === 'answered';
        failed ||= verdict.kind === 'failed';
      } else {
        last = verdict.error;
        await this.db(batch, (tx) => this.noteRefusal(tx, part, verdict.error));
        if (part.length === 1) alone.push({ item: part[0]!, error: verdict.error });
        else {
          const half = Math.ceil(part.length / 2);
          parts = [part.slice(0, half), part.slice(half), ...parts];
        }
      }
    }
    await this.db(batch, async (tx) => {
      await giveBack(tx, parts.flat(), this.deps.clock.now(), answered);
      await applyOutcomes(
        tx,
        this.deps,
        alone.map(({ item, error }) => ({
          ...item,
          outcome: { itemId: item.itemId, outcome: 'refused_alone', code: error.code, detail: error.message, neighbourAnswered: answered },
        })),
      );
      // Where nothing of a batch is taken, the marketplace may take nothing of anybody's just now.
      if (!answered && !failed)
        await tellOfGate(tx, this.deps, await this.gates.failed(tx, batch[0]!.marketplace, batch[0]!.gate, errorText(last), null));
    });
    return answered && !failed;
  }

  private async attempt(part: Claimed[]): Promise<Verdict> {
    const adapter = this.deps.marketplaces.get(part[0]!.marketplace);
    let answer: Answer;
    try {
      const answers = new Map((await adapter.submitUsage(part.map((b) => b.wire))).map((a) => [a.itemId, a]));
      const items = part.map((b) => ({ ...b, outcome: answers.get(b.itemId) ?? notNamed(b.itemId) }));
      const lost = items.every((i) => i.outcome.outcome === 'unknown');
      const failure = lost ? { reason: `no answer: ${detailOf(items[0]!.outcome)}`, retryAfterMs: null } : null;
      answer = { items, call: lost ? 'unknown' : 'ok', failure, aboutUs: null };
    } catch (error) {
      if (error instanceof MarketplaceRefusal && !isAboutUs(error.httpStatus)) return { kind: 'refused', error };
      const items = part.map((b) => ({ ...b, outcome: failureOf(b.itemId, error) }));
      answer = {
        items,
        call: items[0]!.outcome.outcome === 'unknown' ? 'unknown' : 'refused',
        failure: { reason: errorText(error), retryAfterMs: error instanceof MarketplaceBusy ? error.retryAfterMs : null },
        aboutUs: error instanceof MarketplaceRefusal && ABOUT_US.has(error.httpStatus ?? 0) ? error.message : null,
      };
      this.deps.logger.warn({ marketplace: adapter.marketplace, items: part.length, err: errorText(error) }, 'a usage batch was not taken');
    }
    return { kind: answer.failure ? 'failed' : 'answered', written: this.answers.run(answer) };
  }

  /** The refusal is committed before a half goes out: whoever dies in between leaves no attempt whose outcome is not known. */
  private async noteRefusal(tx: Tx, part: Claimed[], error: MarketplaceRefusal): Promise<void> {
    await holdOnTo(tx, part, leaseOf(this.deps));
    await refuseAttempts(tx, part, part.length === 1 ? 'refused_alone' : 'batch_refused', error.code, this.deps.clock.now());
    await this.deps.calls.end(part[0]!.callId, 'refused', { error: errorText(error) }, tx);
  }

  /** A part of a refused batch with attempts of its own; a fence that moved on belongs to another worker and is left out. */
  private async again(part: Claimed[]): Promise<Claimed[]> {
    const { marketplace, gate } = part[0]!;
    const rate = rateOf(this.deps, this.deps.marketplaces.get(marketplace));
    for (;;) {
      const waitMs = await this.db(part, (tx) => this.gates.token(tx, { marketplace, gate, rate }));
      if (waitMs === 0) break;
      await delay(waitMs);
    }
    return this.db(part, async (tx) => {
      const mine = await holdOnTo(tx, part, leaseOf(this.deps));
      const rest = part.filter((p) => mine.has(p.itemId));
      if (rest.length === 0) return [];
      const leaseUntil = new Date(realNow().getTime() + leaseOf(this.deps));
      return (await beginAttempts(tx, this.deps.calls, this.deps.clock.now(), leaseUntil, [rest]))[0]!;
    });
  }

  private db<T>(batch: Claimed[], work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.turns.run(batch[0]!.hardAt, () => this.deps.db.ops(work));
  }
}

const detailOf = (o: AttemptOutcome): string => ('detail' in o ? o.detail : '');

const notNamed = (itemId: string): UsageItemOutcome => ({ itemId, outcome: 'unknown', detail: 'the answer does not name this item' });

const failureOf = (itemId: string, error: unknown): AttemptOutcome =>
  error instanceof MarketplaceBusy
    ? { itemId, outcome: 'busy', detail: errorText(error), retryAfterMs: error.retryAfterMs }
    : error instanceof MarketplaceRefusal
      ? { itemId, outcome: 'busy', detail: errorText(error), retryAfterMs: null }
      : ({ itemId, outcome: 'unknown', detail: errorText(error) } satisfies UsageItemOutcome);
