import type { Operation, Submission } from '../control-plane.js';
import { HttpError } from '../support/http.js';
import type { Advanced, Call } from '../sandbox.js';
import { sleep, until } from '../support/wait.js';
import type { World } from '../world.js';
import { ORDERS, orderAndLand, untilServing } from './buy.js';
import { readSome, writeAndReadBack } from './data.js';
import { accountsMatch, allAccepted, moveTo } from './hours.js';
import { restart } from './start.js';

/** Longer than the way to the kill: the marketplace sits on the report until its caller is dead. */
const HELD_MS = 40_000;

/**
 * SIGKILL while a report is on its way and a purchase is being provisioned. Which side of the marketplace's effect, at
 * which step and how much later follows from the seed.
 */
export async function killInFlight(w: World): Promise<void> {
  const { report, random } = w;
  report.chapter('The control plane is killed in the middle of its work');
  const kind = random.pick(['delay_before', 'delay_after'] as const);
  const atStep = random.between(1, 3);
  const laterMs = random.between(0, 150);
  report.fact(
    `seed ${w.config.seed}: the report is held ${kind === 'delay_after' ? 'after it has taken effect' : 'before it takes effect'}; SIGKILL ${laterMs} ms after step ${atStep} of the provisioning`,
  );
  const buyer = w.buyers[0]!;
  const before = [...w.purchases];
  await moveTo(w, '11:20');
  for (const purchase of before) await readSome(w, purchase, 2);
  await moveTo(w, '11:55');

  await w.sandbox.addFault({ marketplace: buyer.marketplace, operation: buyer.usageOperation, kind, delayMs: HELD_MS });
  const since = (await w.sandbox.calls({ limit: 1 })).at(-1)?.sequence ?? 0;
  // The clock's owner waits for us in this call; it is answered when the killed participant is lost.
  const advancing = w.sandbox.advanceTo(w.at('12:05')).catch((error: unknown) => error as Error);
  const held = await until(
    'a usage report to be in flight',
    async () => {
      const calls = await w.sandbox.calls({ marketplace: buyer.marketplace, operation: buyer.usageOperation, since });
      return calls.find((call) => call.inFlight && call.fault === kind);
    },
    { everyMs: 30 },
  );
  const keys = buyer.usageKeys(held.request?.body);
  report.fact(`a report of ${keys.length} records is in flight (call ${held.sequence} at the marketplace)`);

  const purchase = await orderAndLand(w, buyer, ORDERS.saltmarsh);
  const operation = await until(
    'the new purchase to be provisioned',
    async () => {
      const found = await provisioning(w, purchase.externalId);
      if (found?.state === 'succeeded') throw new Error('it was provisioned before the kill');
      return found && found.state === 'running' && found.step >= atStep ? found : undefined;
    },
    { everyMs: 15 },
  );
  await sleep(laterMs);
  const atTheKill = { call: await callBySequence(w, held.sequence), operation: await provisioning(w, purchase.externalId) };
  w.noteEndOfLife('killed');
  const how = await w.program!.kill();
  report.fact(`SIGKILL to process ${w.program!.pid}: it ended by ${how}`);
  report.expect(
    'an operation was in flight',
    atTheKill.operation?.state === 'running',
    `${operation.kind} ${operation.id}, ${atTheKill.operation?.phase}, step ${atTheKill.operation?.step} of ${atTheKill.operation?.steps}`,
  );
  report.expect('a submission was in flight', atTheKill.call?.inFlight === true, `${buyer.usageOperation}, ${keys.length} records`);
  const unanswered = await until(
    'the marketplace to notice that its caller is gone',
    async () => {
      const call = await callBySequence(w, held.sequence);
      return call && !call.inFlight ? call : undefined;
    },
    { seconds: 10 },
  );
  report.expect('nobody received its answer', unanswered.unanswered === true, `call ${unanswered.sequence}`);

  await restart(w);
  await clockAgain(w, advancing);
  await untilServing(w, purchase, 90);
  const after = await provisioning(w, purchase.externalId, operation.id);
  report.expect('the same operation went on to its end', after?.state === 'succeeded', `${operation.id} ${after?.state}`);
  await writeAndReadBack(w, purchase, 2, 3 * 1024 * 1024);
  await allAccepted(w, before, [w.at('11:00')], 60);
  await sentAgain(w, keys, held.sequence);
  await accountsMatch(w);
}

async function provisioning(w: World, externalId: string, id?: string): Promise<Operation | undefined> {
  const mine = (await w.controlPlane.subscriptions()).find((s) => s.externalSubscriptionId === externalId);
  return (await w.controlPlane.operations()).find((o) =>
    id ? o.id === id : o.kind === 'provision' && !!mine && o.subscriptionId === mine.id,
  );
}

async function callBySequence(w: World, sequence: number): Promise<Call | undefined> {
  return (await w.sandbox.calls({ since: sequence - 1, limit: 1 }))[0];
}

/** The clock may have gone on without the killed one, or given up waiting; either way it must move everybody again. */
async function clockAgain(w: World, advancing: Promise<Advanced | Error>): Promise<void> {
  const outcome = await advancing;
  if (outcome instanceof Error) {
    if (!(outcome instanceof HttpError && outcome.code === 'clock.not_settled')) throw outcome;
    w.report.fact('the clock gave up waiting for the killed control plane');
  } else
    w.report.fact(`the clock went on to ${outcome.now.slice(11, 19)}${outcome.lost.length ? ` without ${outcome.lost.join(', ')}` : ''}`);
  await until('the control plane to keep business time again', async () =>
    (await w.sandbox.clock()).participants.some((p) => p.name.startsWith('control-plane')),
  );
  await moveTo(w, '12:10');
}

/** What was in flight was asked again with the same key, and counted once. */
async function sentAgain(w: World, keys: string[], firstCall: number): Promise<void> {
  const buyer = w.buyers[0]!;
  const calls = await w.sandbox.calls({ marketplace: buyer.marketplace, operation: buyer.usageOperation, since: firstCall, limit: 500 });
  const again = new Set(calls.flatMap((call) => buyer.usageKeys(call.request?.body)));
  const resent = keys.filter((key) => again.has(key));
  w.report.expect(
    'every record of the lost report was settled by asking again',
    resent.length === keys.length,
    `${resent.length} of ${keys.length} sent again with the same key`,
  );
  const external = new Map(w.purchases.map((p) => [p.subscriptionId, p.externalId]));
  const items = (await w.controlPlane.submissions()).filter((s: Submission) =>
    keys.includes(`${external.get(s.subscriptionId)}|${s.dimension}|${new Date(s.hour).toISOString()}`),
  );
  w.report.expect(
    'each of them shows both attempts and one receipt',
    items.length === keys.length && items.every((s) => s.attempts.length >= 2 && s.receipt),
    items
      .slice(0, 1)
      .map((s) => `${s.dimension}: ${s.attempts.map((a) => a.outcome ?? 'no outcome').join(', then ')}`)
      .join(''),
  );
}
