// The scenarios. Wire faults strike in the sandbox, at the share that is said, by the seed; event faults are done to processes, servers,
// the wire or the clock, once at each of three moments that the seed chooses. Nothing here reaches into the product.
import { setTimeout as sleep } from 'node:timers/promises';
import { strikes } from '../dist/apps/marketplace-sandbox/src/shared/faults.js';
import { between, shuffled } from './random.mjs';
import { SILENT_MS } from './house.mjs';
import { MARKETPLACES } from './terms.mjs';

const HOUR_MS = 3_600_000;
const QUARTER_MS = HOUR_MS / 4;

/** Calls by which usage is reported. Google is asked first whether it would take it. */
const OPERATIONS = { azure: ['batchUsageEvent'], aws: ['batchMeterUsage'], gcp: ['check', 'report'] };
const REPORTS = { azure: ['batchUsageEvent'], aws: ['batchMeterUsage'], gcp: ['report'] };

const WIRE = [
  { id: 'throttle', title: 'throttled', kind: 'throttle', operations: OPERATIONS },
  { id: 'partial', title: 'a part of the batch is not taken', kind: 'unprocessed', operations: REPORTS, more: { records: 7 } },
  { id: 'lost-answer', title: 'taken, and the answer is lost', kind: 'drop_after', operations: REPORTS },
  {
    id: 'time-out-before',
    title: 'no answer in time, not taken',
    kind: 'time_out_before',
    operations: OPERATIONS,
    more: { delayMs: SILENT_MS },
  },
  { id: 'time-out-after', title: 'no answer in time, taken', kind: 'time_out_after', operations: REPORTS, more: { delayMs: SILENT_MS } },
];

/** Arms the rule of a fault at all three marketplaces; with `within`, so that each of them is struck within so many calls. */
async function arm(play, { id, kind, operations, more = {} }, rate, within = Infinity) {
  for (const marketplace of MARKETPLACES) {
    for (const operation of operations[marketplace]) {
      const seed = seedThatStrikes({ marketplace, kind, rate }, operation, `${play.seed}/${id}`, within);
      await play.house.shop('POST', '/faults', { marketplace, operation, kind, rate, seed, ...more });
    }
  }
}

/** Which calls a rule strikes follows from its seed alone. Of few calls 1 % may be none, and that would prove nothing: another seed. */
function seedThatStrikes(rule, operation, base, within) {
  for (let n = 0; ; n += 1) {
    const seed = `${base}/${n}`;
    if (within === Infinity) return seed;
    for (let call = 1; call <= within; call += 1) if (strikes({ ...rule, seed }, operation, call)) return seed;
  }
}

/** Takes all rules back and notes, for a row of the table, how often they struck. */
async function disarm(play, row = play.rows[0]) {
  const { items } = await play.house.shop('GET', '/faults');
  for (const { marketplace, struck } of items) row.struck[marketplace] += struck;
  await play.house.shop('DELETE', '/faults');
}

/**
 * A fault in three parts of one day, each a row of the table: 1 % of the calls, 5 % of the calls, and every call for a while (two hours
 * of a day), after which there is time to make up for it. The records of an hour go out when it is over, so calls are struck from an
 * hour after a part's first one on.
 */
const inThreeParts = (fault) => ({
  id: fault.id,
  title: fault.title,
  parts(hours) {
    const [one, five, length] = [Math.floor(hours * 0.375), hours - 4, 2];
    return [
      { id: `${fault.id} 1 %`, fromHour: 0, untilHour: one, rate: 0.01, strikes: [1, one + 1] },
      { id: `${fault.id} 5 %`, fromHour: one, untilHour: five, rate: 0.05, strikes: [one + 1, five + 1] },
      { id: `${fault.id} 100 % for ${length} h`, fromHour: five, untilHour: hours, rate: 1, strikes: [five + 1, five + 1 + length] },
    ];
  },
  async before(play, nextMs) {
    // The step to the full hour is the one that closes it.
    const hour = (nextMs - play.fromMs) / HOUR_MS;
    const over = play.rows.find(({ strikes }) => strikes[1] === hour);
    if (over) await disarm(play, over);
    const next = play.rows.find(({ strikes }) => strikes[0] === hour);
    // An hour takes at least one call of each kind.
    if (next) await arm(play, fault, next.rate, next.strikes[1] - next.strikes[0]);
  },
});

const mixed = {
  id: 'mixed',
  title: 'all wire faults at 5 % each, and a kill between acceptance and commit',
  moments: 1,
  async begin(play) {
    for (const fault of WIRE) await arm(play, fault, 0.05);
  },
  at: (play, k) => killAtCall(play, k, 'after'),
  end: (play) => disarm(play),
};

/** The k-th moment's marketplace: each of them is met once. */
const marketplaceOf = (play, k) => shuffled(MARKETPLACES, play.seed, play.scenario.id)[k % MARKETPLACES.length];

/** Kills the worker in a usage call: `before` it reaches the marketplace, or `after` it was taken and before the answer is back. */
async function killAtCall(play, k, when) {
  const { house } = play;
  const target = marketplaceOf(play, k);
  let done = false;
  const kill = async () => {
    done = true;
    await house.killWorker();
    play.rows[0].struck[target] += 1;
  };
  house.gate.trap = (marketplace) => (done || marketplace !== target ? undefined : { [when]: kill });
  // A call that another fault has taken never comes so far: then it is the next one.
  for (let tries = 0; !done && tries < 4; tries += 1) await play.step();
  house.gate.trap = () => undefined;
  if (!done) throw new Error(`no usage call to ${target} came until ${clock(play.nowMs)}: nothing was killed`);
  play.note(`SIGKILL in a call to ${target} at ${clock(play.nowMs)}, ${when === 'before' ? 'before it was sent' : 'after it was taken'}`);
  await restartWorker(play);
}

/** As an orchestrator does. What the dead one had in work is free again after its lease, which runs in real time: wait for that. */
async function restartWorker(play) {
  const { house } = play;
  await house.startWorker();
  const limit = performance.now() + 150_000;
  while ((await house.all('/submissions?state=in_flight')).length > 0) {
    if (performance.now() > limit) throw new Error('what the killed worker had in work is still in work');
    await sleep(500);
  }
}

/** Does something so many milliseconds after a step of the clock has begun, while closing and sending are under way. */
async function inTheMiddle(play, k, longest, deed) {
  const ms = between(0, longest, play.seed, play.scenario.id, k);
  const both = await Promise.allSettled([sleep(ms).then(deed), play.step()]);
  for (const one of both) if (one.status === 'rejected') throw one.reason;
  play.rows[0].deeds += 1;
  return ms;
}

const EVENTS = [
  { id: 'crash-before-call', title: 'the worker crashes between intent and call', at: (play, k) => killAtCall(play, k, 'before') },
  { id: 'crash-before-commit', title: 'the worker crashes between call and commit', at: (play, k) => killAtCall(play, k, 'after') },
  {
    id: 'worker-killed',
    title: 'the worker is killed while hours are closed and sent, and stays away for an hour',
    async at(play, k) {
      const ms = await inTheMiddle(play, k, 900, () => play.house.killWorker());
      play.note(`SIGKILL ${ms} ms into the step to ${clock(play.nowMs)}`);
      for (let i = 0; i < 4; i += 1) await play.step();
      await restartWorker(play);
    },
  },
  {
    id: 'redis-emptied',
    title: 'Redis is emptied',
    async at(play, k) {
      const { house } = play;
      if (!house.hasRedis) return play.note('there is no redis-server on this machine: nothing to empty');
      const ms = await inTheMiddle(play, k, 600, () => house.emptyRedis());
      play.note(`FLUSHALL ${ms} ms into the step to ${clock(play.nowMs)}`);
    },
  },
  {
    id: 'postgres-restarted',
    title: 'Postgres is shut down at once and starts again',
    async at(play, k) {
      const ms = await inTheMiddle(play, k, 900, () => play.house.restartPostgres());
      play.note(`immediate shutdown ${ms} ms into the step to ${clock(play.nowMs)}`);
      if (!play.house.workerLives) {
        play.note('the worker ended with it and was started again');
        await restartWorker(play);
      }
    },
  },
  {
    id: 'skew',
    title: 'our clock runs ahead of the marketplaces, behind them, and their answers carry a wrong date',
    async at(play, k) {
      const minutes = [4, -4, 20][k];
      play.house.gate.skewMs = minutes * 60_000;
      for (const marketplace of MARKETPLACES)
        await play.house.shop('POST', '/faults', { marketplace, operation: '*', kind: 'skew', rate: 1, skewMs: minutes * 150_000 });
      play.rows[0].deeds += 1;
      play.note(`from ${clock(play.nowMs)}, for an hour: we are ${minutes} min ahead, dates of answers are off by ${minutes * 2.5} min`);
      for (let i = 0; i < 4; i += 1) await play.step();
      play.house.gate.skewMs = 0;
      await disarm(play);
    },
  },
];

/** Each marketplace refuses every connection for 20 hours, from a moment of its own. */
const down = {
  id: 'down-20h',
  title: 'a marketplace is down for 20 hours (each from a moment of its own)',
  begin(play) {
    const length = Math.min(20, play.hours - 2);
    play.outages = shuffled(MARKETPLACES, play.seed, 'down').map((marketplace, k) => {
      const from = play.fromMs + k * HOUR_MS + between(1, 4, play.seed, 'down', k) * QUARTER_MS;
      play.note(`${marketplace} refuses connections from ${clock(from)} for ${length} h`);
      return { marketplace, from, until: from + length * HOUR_MS };
    });
  },
  before(play, nextMs) {
    const at = nextMs - QUARTER_MS;
    for (const { marketplace, from, until } of play.outages) play.house.gate.down[at >= from && at < until ? 'add' : 'delete'](marketplace);
  },
  end(play) {
    play.house.gate.down.clear();
    Object.assign(play.rows[0].struck, play.house.gate.refused);
  },
};

export const SCENARIOS = [
  { id: 'none', title: 'no fault: what the others are compared with' },
  ...WIRE.map(inThreeParts),
  ...EVENTS.map((event) => ({ moments: 3, ...event })),
  down,
];
/** What `npm test` plays. */
export const SHORT = mixed;

export const clock = (ms) => new Date(ms).toISOString().slice(5, 16).replace('T', ' ');
