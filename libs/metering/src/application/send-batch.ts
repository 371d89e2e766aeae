import { setTimeout as delay } from 'node:timers/promises';
import { errorText, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, type UsageItemOutcome } from '#marketplaces/core';
import type { DeadlineQueue } from '../domain/deadline-queue.js';
import { beginAttempts, giveBack, holdOnTo, refuseAttempts, type Claimed } from '../infra/items.sql.js';
import type { Gates } from '../infra/gates.sql.js';
import { applyOutcomes, type AttemptOutcome } from './apply-outcomes.js';
import { rateOf, type MeteringDeps } from './deps.js';
import { credentialsRefused, raiseFindings } from './findings.js';
import { tellOfGate } from './gate-findings.js';

const DEFAULT_LEASE_MS = 60_000;
export const leaseOf = (deps: MeteringDeps): number => deps.options?.submissionLeaseMs ?? DEFAULT_LEASE_MS;

/** A refused connection, key or rate says nothing about the items: they wait. Anything else refused is about what was sent. */
const ABOUT_US = new Set([401, 403, 407, 408, 423, 425, 429]);
const isAboutUs = (status: number | undefined): boolean => status !== undefined && (ABOUT_US.has(status) || status >= 500);

/** So many culprits are looked for in one batch; the rest of it goes back and is regrouped without them. */
const CULPRITS_AT_ONCE = 3;
/** Each culprit costs at most two calls for each halving, and the batch itself one. */
export const callsFor = (items: number): number => 1 + CULPRITS_AT_ONCE * 2 * Math.ceil(Math.log2(Math.max(2, items)));

type Verdict = { kind: 'answered' } | { kind: 'failed' } | { kind: 'refused'; error: MarketplaceRefusal };

/** Sends one claimed batch and writes down what became of each item; a refused batch is halved until the culprit stands alone. */
export class SendBatch {
  constructor(
    private readonly deps: MeteringDeps,
    private readonly gates: Gates,
    private readonly turns: DeadlineQueue,
  ) {}

  /**
   * One bad item refuses a whole batch and is not named (AWS: one bad time stamp). Halves are sent until it stands alone; it is held
   * then, with a finding, and the rest has gone. The bytes of an item are those of before, only their company changes. At most
   * `callsFor(n)` calls; what is left then goes back. Answers whether the marketplace is well: it took or judged items.
   */
  async run(batch: Claimed[]): Promise<boolean> {
    let parts: Claimed[][] = [batch];
    const alone: { item: Claimed; error: MarketplaceRefusal }[] = [];
    let answered = false;
    let failed = false;
    let calls = 0;
    let last: MarketplaceRefusal | null = null;
    while (parts.length > 0 && !failed && calls < callsFor(batch.length)) {
      const part = calls === 0 ? parts.shift()! : await this.again(parts.shift()!);
      if (part.length === 0) continue;
      calls += 1;
      const verdict = await this.attempt(part);
      if (verdict.kind === 'answered') answered = true;
      else if (verdict.kind === 'failed') failed = true;
      else {
        last = verdict.error;
        await this.db(batch, (tx) => this.noteRefusal(tx, part, verdict.error));
        if (part.length === 1) alone.push({ item: part[0]!, error: verdict.error });
        else {
          const half = Math.ceil(part.length / 2);
          parts = [part.slice(0, half), part.slice(half), ...parts];
        }
      }
    }
    if (last === null) return answered;
    await this.db(batch, async (tx) => {
      await giveBack(tx, parts.flat(), this.deps.clock.now(), answered);
      await applyOutcomes(
        tx,
        this.deps,
        alone.map((a) => a.item),
        alone.map(({ item, error }): AttemptOutcome => ({
          itemId: item.itemId,
          outcome: 'refused_alone',
          code: error.code,
          detail: error.message,
          neighbourAnswered: answered,
        })),
      );
      // Where nothing of a batch is taken, the marketplace may take nothing of anybody's just now.
      if (!answered && !failed) await this.tell(tx, batch[0]!, errorText(last), null);
    });
    return answered && !failed;
  }

  private async attempt(part: Claimed[]): Promise<Verdict> {
    const adapter = this.deps.marketplaces.get(part[0]!.marketplace);
    let outcomes: AttemptOutcome[];
    let call: { state: 'ok' | 'refused' | 'unknown'; outcome: unknown };
    let aboutUs: string | null = null;
    let failure: { reason: string; retryAfterMs: number | null } | null = null;
    try {
      const answers = await adapter.submitUsage(part.map((b) => b.wire));
      outcomes = part.map(
        (b) =>
          answers.find((a) => a.itemId === b.itemId) ?? {
            itemId: b.itemId,
            outcome: 'unknown',
            detail: 'the answer does not name this item',
          },
      );
      const lost = outcomes.every((o) => o.outcome === 'unknown');
      if (lost) failure = { reason: `no answer: ${detailOf(outcomes[0]!)}`, retryAfterMs: null };
      call = { state: lost ? 'unknown' : 'ok', outcome: answers };
    } catch (error) {
      if (error instanceof MarketplaceRefusal && !isAboutUs(error.httpStatus)) return { kind: 'refused', error };
      if (error instanceof MarketplaceRefusal && ABOUT_US.has(error.httpStatus ?? 0)) aboutUs = error.message;
      outcomes = part.map((b) => failureOf(b.itemId, error));
      failure = { reason: errorText(error), retryAfterMs: error instanceof MarketplaceBusy ? error.retryAfterMs : null };
      call = { state: outcomes[0]!.outcome === 'unknown' ? 'unknown' : 'refused', outcome: { error: errorText(error) } };
      this.deps.logger.warn({ marketplace: adapter.marketplace, items: part.length, err: errorText(error) }, 'a usage batch was not taken');
    }
    await this.db(part, async (tx) => {
      await this.deps.calls.end(part[0]!.callId, call.state, call.outcome, tx);
      await applyOutcomes(tx, this.deps, part, outcomes);
      if (aboutUs !== null)
        await raiseFindings(tx, this.deps.clock, [credentialsRefused(adapter.marketplace, this.deps.clock.now(), aboutUs)]);
      await this.tell(tx, part[0]!, failure?.reason ?? null, failure?.retryAfterMs ?? null);
    });
    return { kind: failure ? 'failed' : 'answered' };
  }

  /** The refusal is committed before a half goes out: whoever dies in between leaves no attempt whose outcome is not known. */
  private async noteRefusal(tx: Tx, part: Claimed[], error: MarketplaceRefusal): Promise<void> {
    await this.deps.calls.end(part[0]!.callId, 'refused', { error: errorText(error) }, tx);
    await refuseAttempts(tx, part, part.length === 1 ? 'refused_alone' : 'batch_refused', error.code, this.deps.clock.now());
    await holdOnTo(tx, part, leaseOf(this.deps));
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
      return rest.length === 0 ? [] : beginAttempts(tx, this.deps.calls, this.deps.clock.now(), leaseOf(this.deps), rest);
    });
  }

  private async tell(tx: Tx, { marketplace, gate }: Claimed, failure: string | null, retryAfterMs: number | null): Promise<void> {
    const change =
      failure === null
        ? await this.gates.answered(tx, marketplace, gate)
        : await this.gates.failed(tx, marketplace, gate, failure, retryAfterMs);
    await tellOfGate(tx, this.deps, change);
  }

  private db<T>(batch: Claimed[], work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.turns.run(batch[0]!.hardAt, () => this.deps.db.ops(work));
  }
}

const detailOf = (o: AttemptOutcome): string => ('detail' in o ? o.detail : '');

const failureOf = (itemId: string, error: unknown): AttemptOutcome =>
  error instanceof MarketplaceBusy
    ? { itemId, outcome: 'busy', detail: errorText(error), retryAfterMs: error.retryAfterMs }
    : error instanceof MarketplaceRefusal
      ? { itemId, outcome: 'busy', detail: errorText(error), retryAfterMs: null }
      : ({ itemId, outcome: 'unknown', detail: errorText(error) } satisfies UsageItemOutcome);
