import { ProblemError, type InboundMessage, type StoredAnswer, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceUnknown, type InboundRequest, type Marketplace, type StoredInbound } from '#marketplaces/core';
import { subscriptionIdOf, subscriptionLane } from '#entitlements';
import type { ProcessContext } from './context.js';
import { decideChange } from './decide-change.js';
import { applyEvent, recall } from './normalise-inbound.js';
import { alarmIfAboutUs } from './refused-credentials.js';

/** After this time nobody waits for the answer in the request any more (contract azure §4: 10 s). Business milliseconds. */
const DECIDED_WITHIN_MS = 15_000;
/** Real milliseconds from the request's arrival after which a decision is left to the repeat or to a worker: a late yes or no counts for nothing. */
const ANSWERED_WITHIN_MS = 7_000;

/**
 * A pushed message: verify the sender, store the raw body, answer. Nothing else happens in the request, except a decision
 * the marketplace wants in the answer. A repeat gets the stored answer: a 200 after a refusal would accept the change.
 */
export async function receiveWebhook(
  p: ProcessContext,
  marketplace: Marketplace,
  request: InboundRequest,
  answeredWithinMs = ANSWERED_WITHIN_MS,
): Promise<StoredAnswer> {
  const began = performance.now();
  const adapter = p.marketplaces.has(marketplace) ? p.marketplaces.get(marketplace) : null;
  if (!adapter?.verifyInbound)
    throw new ProblemError('not_found', 'webhook.not_configured', `This installation does not take ${marketplace} notifications.`);
  const verdict = await adapter.verifyInbound(request).catch(async (error: unknown) => {
    // Keys cannot be fetched: anything but a 5xx would refuse a change that may be genuine. A forger is answered so too.
    if (error instanceof MarketplaceBusy) {
      await p.inbox.refuse(`${marketplace}.webhook`, 'webhook.sender_unverified', error.message, request.headers, request.body);
      throw new ProblemError(
        'unavailable',
        'webhook.sender_unverified',
        'The sender could not be verified just now. Send the notification again.',
      );
    }
    throw error;
  });
  if (!verdict.ok) {
    await p.inbox.refuse(`${marketplace}.webhook`, verdict.code, verdict.detail, request.headers, request.body);
    const kind = (
      { 400: 'validation', 401: 'unauthenticated', 403: 'forbidden', 413: 'too_large', 415: 'validation', 503: 'unavailable' } as const
    )[verdict.status];
    throw new ProblemError(kind, verdict.code, verdict.detail);
  }
  const message = {
    source: verdict.source,
    naturalKey: verdict.naturalKey,
    contentType: request.headers['content-type'] ?? 'application/octet-stream',
    headers: request.headers,
    body: request.body,
    principal: verdict.principal,
  };
  const lane = verdict.externalSubscriptionId ? subscriptionLane(subscriptionIdOf(marketplace, verdict.externalSubscriptionId)) : null;
  if (!verdict.decisionWanted) {
    const accepted = await p.pressure.around(() =>
      p.inbox.accept(message, { lane, handler: 'inbound.normalise', payload: { marketplace } }, { status: 200 }),
    );
    if (accepted.taskId) p.tasks.nudge(accepted.taskId);
    return accepted.answer ?? { status: 200 };
  }
  const decided = decideInRequest(p, marketplace, message, () => answeredWithinMs - (performance.now() - began));
  return within(Math.max(0, answeredWithinMs - (performance.now() - began)), decided);
}

/** Stores the message and decides. `left`: real milliseconds until nobody waits for it any more. */
async function decideInRequest(
  p: ProcessContext,
  marketplace: Marketplace,
  message: InboundMessage,
  left: () => number,
): Promise<StoredAnswer> {
  const stored = await p.db.ops(async (tx) => {
    const row = await p.inbox.receive(tx, message);
    // Should this process die before it has decided, a worker decides, also if the marketplace does not ask again.
    if (row.fresh)
      await p.tasks.enqueue(tx, {
        lane: `decision:${row.inboxId}`,
        handler: 'inbound.normalise',
        payload: { inboxId: row.inboxId, marketplace },
        runAt: new Date(p.clock.now().getTime() + DECIDED_WITHIN_MS),
      });
    return row;
  });
  if (stored.answer) return stored.answer;
  return decide(p, marketplace, { ...message, inboxId: stored.inboxId, receivedAt: stored.receivedAt }, left);
}

/** The plan or quantity decision inside the request (Azure: 10 s). Undecidable in time = 503, so that the sender asks again. */
async function decide(
  p: ProcessContext,
  marketplace: Marketplace,
  message: StoredInbound & { inboxId: string },
  left: () => number,
): Promise<StoredAnswer> {
  const { inboxId } = message;
  const adapter = p.marketplaces.get(marketplace);
  let events;
  try {
    events = await adapter.normalise(message, recall(p, marketplace));
  } catch (error) {
    if (error instanceof MarketplaceBusy || error instanceof MarketplaceUnknown || (await alarmIfAboutUs(p, marketplace, error)))
      throw undecided();
    throw error;
  }
  // Whoever asked has been told to come again: the repeat or the worker decides, once.
  if (left() <= 0) throw undecided();
  return p.db
    .ops(async (tx) => {
      await waitForLocksAtMost(tx, left());
      let answer: StoredAnswer = { status: 200 };
      for (const event of events) {
        const outcome = await applyEvent(p, tx, event, inboxId);
        const decision = await decideChange(p, tx, event, outcome);
        if (decision && decision !== 'parked') answer = adapter.decisionAnswer?.(decision) ?? answer;
        await p.inbox.mark(tx, inboxId, decision === 'parked' || outcome.result === 'parked' ? 'parked' : 'processed', {
          subscriptionId: outcome.subscriptionId ?? undefined,
          note: outcome.result === 'applied' ? outcome.changes.join(', ') : outcome.why,
        });
      }
      await p.inbox.answer(tx, inboxId, answer);
      return answer;
    })
    .catch((error: unknown) => {
      throw isLockTimeout(error) ? undecided() : error;
    });
}

const undecided = (): ProblemError =>
  new ProblemError(
    'unavailable',
    'webhook.undecided',
    'The marketplace could not be asked for its view of this change. Send the notification again.',
  );

const waitForLocksAtMost = (tx: Tx, ms: number): Promise<unknown> =>
  tx.query(`select set_config('lock_timeout', $1, true)`, [String(Math.max(1, Math.round(ms)))]);

const isLockTimeout = (error: unknown): boolean => (error as { driverError?: { code?: string } }).driverError?.code === '55P03';

/** What is decided after the limit stays decided: the repeat gets it as the stored answer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(undecided()), ms);
  });
  work.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
