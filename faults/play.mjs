// One scenario from its purchases to its verdict, on an installation of its own.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buyAll, shareOut } from './buyers.mjs';
import { House } from './house.mjs';
import { byDimension, isEven, judge } from './judge.mjs';
import { between } from './random.mjs';
import { clock } from './scenarios.mjs';

const HOUR_MS = 3_600_000;
const QUARTER_MS = HOUR_MS / 4;
const DAY_MS = 24 * HOUR_MS;
/** After the last hour: so long marketplaces may take to be told all; and so long nothing more may be billed then. */
const SETTLE_HOURS = 8;
const QUIET_HOURS = 2;

/** Plays it; `tell` takes lines of progress. Answers the rows of the table and the evidence they were judged by. */
export async function playScenario(
  scenario,
  { subscriptions, hours, seed, layout = 'split', redis = true, keep = false, tell = () => undefined },
) {
  const began = performance.now();
  const house = new House({ seed: `${seed}`, layout, redis, keep, cellCapacity: Math.ceil(subscriptions / 2) });
  const play = { house, scenario, seed, hours, notes: [], note: (text) => play.notes.push(text) };
  const parts = scenario.parts?.(hours) ?? [{ id: scenario.id, fromHour: 0, untilHour: hours }];
  play.rows = parts.map((part) => ({ ...part, struck: { azure: 0, aws: 0, gcp: 0 }, deeds: 0 }));
  try {
    await house.open();
    await house.moveTo(await firstMorning(house), DAY_MS);
    await house.generator.join(house.sandboxUrl);
    await house.start();
    tell('the house is up');
    const placements = await buyAll(house, shareOut(subscriptions), tell);
    play.fromMs = Math.ceil(((await house.nowMs()) + 60_000) / HOUR_MS) * HOUR_MS;
    // Until the cells have spoken once, their keys are not known at the door.
    for (let ms = await house.nowMs(); placements.some(({ source }) => !house.generator.knows(source)); ms += 300_000)
      await house.moveTo(Math.min(ms, play.fromMs - 30_000), 300);
    house.generator.begin(placements, play.fromMs, `${house.api.url}/api/v1/usage-events`);
    await house.moveTo(play.fromMs);
    play.nowMs = play.fromMs;
    play.untilMs = play.fromMs + hours * HOUR_MS;
    tell(`business time ${clock(play.fromMs)}; ${hours} hours begin`);
    await live(play, tell);
    await scenario.end?.(play);
    mustHaveStruck(play);
    const result = await settle(play, placements, tell);
    return { ...result, ...summary(play), seconds: (performance.now() - began) / 1000 };
  } catch (error) {
    const log = readTail(join(house.folder, 'worker.log'));
    throw Object.assign(new Error(`${scenario.id}: ${error.message}${log ? `\n  worker: ${log}` : ''}`), { cause: error });
  } finally {
    await house.close();
  }
}

/** A fault that never struck proves nothing: that is no pass. */
function mustHaveStruck({ scenario, rows, house }) {
  for (const { id, struck, deeds, rate } of rows) {
    const counts = Object.values(struck);
    if (rate !== undefined && counts.includes(0)) throw new Error(`${id}: it did not strike at every marketplace (${counts.join('/')})`);
    if (scenario.moments && deeds + counts.reduce((sum, n) => sum + n, 0) < scenario.moments && house.hasRedis)
      throw new Error(`${id}: not all of its ${scenario.moments} moments came`);
  }
}

const summary = ({ scenario, notes, house }) => ({
  id: scenario.id,
  title: scenario.title,
  calls: { ...house.gate.calls },
  notes,
  repeatedPosts: house.generator.repeated,
});

/** A quarter of an hour at a time; at each of the scenario's moments what it does there. */
async function live(play, tell) {
  const { scenario, house } = play;
  const moments = momentsOf(play);
  play.step = async () => {
    const next = play.nowMs + QUARTER_MS;
    await scenario.before?.(play, next);
    await moveOn(house, next);
    play.nowMs = next;
    if ((next - play.fromMs) % (6 * HOUR_MS) === 0) tell(`${(next - play.fromMs) / HOUR_MS} of ${play.hours} hours`);
  };
  await scenario.begin?.(play);
  while (play.nowMs < play.untilMs) {
    const k = moments.indexOf(play.nowMs + QUARTER_MS);
    if (k >= 0) await scenario.at(play, k);
    else await play.step();
  }
}

/** Full hours, when their records go out: the seed chooses, each in a part of the time of its own. */
function momentsOf({ scenario, seed, hours, fromMs }) {
  const count = scenario.moments ?? 0;
  const part = Math.floor((hours - 1) / Math.max(1, count));
  return Array.from(
    { length: count },
    (_, k) => fromMs + (1 + k * part + between(0, Math.max(0, part - 2), seed, scenario.id, 'moment', k)) * HOUR_MS,
  );
}

/** A step that somebody was not done with in time is waited for: business time stands still meanwhile. */
async function moveOn(house, ms) {
  for (let tries = 1; ; tries += 1) {
    try {
      await house.moveTo(ms);
      return;
    } catch (error) {
      if (house.generator.failure) throw house.generator.failure;
      if (error.code !== 'clock.not_settled' || tries >= 3) throw error;
    }
  }
}

/** Lets the marketplaces be told what is left, then looks for a while whether anything more is billed, and judges. */
async function settle(play, placements, tell) {
  const { house } = play;
  const known = new Map(placements.map((p) => [p.subscriptionId, p.externalId]));
  const look = async () => {
    const findings = (await house.findings()).map((f) => ({ ...f, externalId: known.get(f.subscriptionId) }));
    const billed = await house.billed();
    const evidence = { log: house.generator.log(), billed, fromMs: play.fromMs, untilMs: play.untilMs };
    return { evidence, findings, verdict: judge({ ...evidence, findings }) };
  };
  let seen = await look();
  const limit = play.untilMs + SETTLE_HOURS * HOUR_MS;
  while (!isEven(seen.verdict) && play.nowMs < limit) {
    await moveOn(house, (play.nowMs += QUARTER_MS));
    seen = await look();
  }
  const settledAfterMs = play.nowMs - play.untilMs;
  for (let i = 0; i < QUIET_HOURS; i += 1) await moveOn(house, (play.nowMs += HOUR_MS));
  seen = await look();
  tell(`settled ${settledAfterMs / 60_000} min after the last hour`);
  const kinds = {};
  for (const { kind } of seen.findings) kinds[kind] = (kinds[kind] ?? 0) + 1;
  const rows = play.rows.map(({ id, fromHour, untilHour, struck, deeds, rate }, i) => {
    // What is billed of hours before the first is nobody's, and stands in the first row.
    const only = { fromMs: i === 0 ? -Infinity : play.fromMs + fromHour * HOUR_MS, untilMs: play.fromMs + untilHour * HOUR_MS };
    return { id, fromHour, untilHour, struck, deeds, rate, verdict: judge({ ...seen.evidence, findings: seen.findings, only }) };
  });
  return {
    rows,
    evidence: { ...seen.evidence, findings: seen.findings },
    units: byDimension(seen.evidence),
    kinds,
    settledAfterMinutes: settledAfterMs / 60_000,
    subscriptions: placements.length,
    hours: play.hours,
    from: new Date(play.fromMs).toISOString(),
  };
}

/** A morning with four more days in its month: a month's end is another matter, with rules of its own. */
async function firstMorning(house) {
  const now = await house.nowMs();
  let day = Math.ceil((now + 1) / DAY_MS) * DAY_MS;
  while (new Date(day).getUTCMonth() !== new Date(day + 4 * DAY_MS).getUTCMonth()) day += DAY_MS;
  return day + 7.8 * HOUR_MS;
}

function readTail(file) {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1).slice(0, 400);
  } catch {
    return '';
  }
}
