import { Grouped, type CallState, type Tx } from '#platform';
import type { DeadlineQueue } from '../domain/deadline-queue.js';
import type { Claimed } from '../infra/claims.sql.js';
import type { GateChange, Gates } from '../infra/gates.sql.js';
import type { Answered } from '../infra/answers.sql.js';
import { applyOutcomes } from './apply-outcomes.js';
import type { MeteringDeps } from './deps.js';
import { credentialsRefused, raiseFindings } from './findings.js';
import { tellOfGate } from './gate-findings.js';

/** What became of one call. */
export interface Answer {
  items: Answered[];
  call: Exclude<CallState, 'intent'>;
  /** Nothing was said about the items. */
  failure: { reason: string; retryAfterMs: number | null } | null;
  /** It is we who are refused, with these words. */
  aboutUs: string | null;
}

/** Calls whose answers one commit takes. */
const ANSWERS_AT_ONCE = 40;

/** Outcome after: calls that are answered while a commit is under way share the next one. One that fails is tried by itself. */
export class WriteAnswers {
  private readonly group: Grouped<Answer, void>;

  constructor(
    private readonly deps: MeteringDeps,
    private readonly gates: Gates,
    turns: DeadlineQueue,
  ) {
    const write = (answers: readonly Answer[]): Promise<void> => {
      const hardAt = new Date(Math.min(...answers.flatMap((a) => a.items.map((i) => +i.hardAt))));
      return turns.run(hardAt, () => deps.db.ops((tx) => this.write(tx, answers)));
    };
    this.group = new Grouped<Answer, void>(
      (answers) => write(answers).then(() => answers.map(() => undefined)),
      (answer) => write([answer]),
      { groups: 1, perGroup: ANSWERS_AT_ONCE, waiting: Infinity },
    );
  }

  /** Resolves once it is committed. */
  run(answer: Answer): Promise<void> {
    return this.group.run(answer);
  }

  private async write(tx: Tx, answers: readonly Answer[]): Promise<void> {
    await applyOutcomes(
      tx,
      this.deps,
      answers.flatMap((a) => a.items),
    );
    await this.deps.calls.endMany(
      answers.map((a) => ({ callId: a.items[0]!.callId, state: a.call, outcome: outcomeOf(a) })),
      tx,
    );
    const refused = answers.filter((a) => a.aboutUs !== null);
    if (refused.length > 0)
      await raiseFindings(
        tx,
        this.deps.clock,
        refused.map((a) => credentialsRefused(a.items[0]!.marketplace, this.deps.clock.now(), a.aboutUs!)),
      );
    for (const [gate, told] of byGate(answers)) await this.tell(tx, gate, told);
  }

  /** In the order in which they came; a second good answer in a row says nothing new. */
  private async tell(tx: Tx, { marketplace, gate }: Claimed, answers: Answer[]): Promise<void> {
    for (const [n, { failure }] of answers.entries()) {
      if (failure === null && n > 0 && answers[n - 1]!.failure === null) continue;
      const change: GateChange = failure
        ? await this.gates.failed(tx, marketplace, gate, failure.reason, failure.retryAfterMs)
        : await this.gates.answered(tx, marketplace, gate);
      await tellOfGate(tx, this.deps, change);
    }
  }
}

/** In one order, so that two writers never wait for each other's gates. */
function byGate(answers: readonly Answer[]): [Claimed, Answer[]][] {
  const gates = new Map<string, Answer[]>();
  for (const answer of answers) {
    const { marketplace, gate } = answer.items[0]!;
    const key = `${marketplace}|${gate}`;
    gates.set(key, [...(gates.get(key) ?? []), answer]);
  }
  return [...gates].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, told]) => [told[0]!.items[0]!, told]);
}

/** How many were answered how; each answer itself, word for word, stands with its attempt, which names the call. */
function outcomeOf({ items, failure }: Answer): unknown {
  if (failure) return { error: failure.reason };
  const answered: Record<string, number> = {};
  for (const { outcome } of items) answered[outcome.outcome] = (answered[outcome.outcome] ?? 0) + 1;
  return { answered };
}
