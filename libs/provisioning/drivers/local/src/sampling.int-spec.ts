import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aCall, aPlacement, outputOf } from '#provisioning/core/testing';
import { cellPaths, processStartTicks } from './files.js';
import { FakeClockOwner, FakeIntake } from './testing/fake-peers.js';
import { eventually, LocalHarness, refusalOf } from './testing/local-harness.js';
import { RELEASES } from './version.js';

const ref = 'sampled';
const LATEST = RELEASES.at(-1)!.version;

describe('usage of a cell on the virtual clock', () => {
  let owner: FakeClockOwner;
  let intake: FakeIntake;
  let h: LocalHarness;
  const p = aPlacement();
  const metering = async () => (await h.status(ref)).metering;

  beforeEach(async () => {
    owner = await new FakeClockOwner().start();
    // One second after an aligned instant: no real one falls into a test.
    owner.offsetMs = 300_000 - (Date.now() % 300_000) + 1000;
    intake = await new FakeIntake().start();
    h = new LocalHarness({ cellClock: { url: owner.url }, ingest: () => intake.target });
    await h.cell(ref, [p]);
    await h.container(ref, p).create();
  });
  afterEach(async () => {
    await h.dispose();
    await Promise.all([owner.stop(), intake.stop()]);
  });

  /** Aligned instants that came to be between two business times. */
  const aligned = (from: number, to: number): string[] => {
    const out: string[] = [];
    for (let t = Math.floor(from / 300_000) * 300_000 + 300_000; t <= to; t += 300_000) out.push(new Date(t).toISOString());
    return out;
  };

  it('samples at each aligned instant of business time, posts before the step ends, and closes each with a watermark', async () => {
    const from = (await h.status(ref)).now;
    await h.container(ref, p).getBlockBlobClient('b').uploadData(Buffer.alloc(1234));
    const rounds = await owner.advance(300);
    expect(rounds).toBe(2);
    expect(intake.samples('stored_bytes', p.placementId).at(-1)?.value).toBe('1234');
    await h.container(ref, p).getBlockBlobClient('b').downloadToBuffer();
    for (let i = 0; i < 11; i += 1) await owner.advance(300);
    const to = (await h.status(ref)).now;
    const times = aligned(Date.parse(from), Date.parse(to));
    for (const metric of ['stored_bytes', 'egress_bytes', 'ingress_bytes', 'requests'])
      expect(intake.samples(metric, p.placementId).map((s) => s.time)).toEqual(times);
    const counters = await h.counters(ref, p.placementId);
    expect(intake.samples('egress_bytes', p.placementId).at(-1)?.value).toBe(String(counters.out));
    expect(intake.samples('requests', p.placementId).at(-1)?.value).toBe(String(counters.requests));
    const marks = intake.accepted.filter((e) => e.type === 'berth.watermark.v1');
    expect(marks.map((m) => m.data.through)).toEqual(times);
    expect(marks.every((m) => m.subject === undefined && m.data.sequence === m.sequence)).toBe(true);
    expect(intake.accepted.map((e) => Number(e.sequence))).toEqual(intake.accepted.map((_, i) => i + 1));
    const { epoch } = await metering();
    expect(intake.accepted[0]).toMatchObject({
      specversion: '1.0',
      id: `${ref}.${epoch}.1`,
      source: `/cells/${ref}`,
      subject: p.placementId,
      datacontenttype: 'application/json',
    });
  });

  it('takes every instant of one long jump, and none of the time in which it was down', async () => {
    await owner.advance(1800);
    const jumped = intake.samples('requests', p.placementId).length;
    expect(jumped).toBe(6);
    const { pid } = h.pid(ref);
    h.kill(ref);
    await eventually(() => processStartTicks(pid) === null);
    owner.participants.clear();
    await owner.advance(3600);
    await h.driver.ensureRunning(ref);
    expect((await h.status(ref)).now > new Date(Date.now() + owner.offsetMs - 1000).toISOString()).toBe(true);
    await owner.advance(300);
    expect(intake.samples('requests', p.placementId)).toHaveLength(7);
    expect(new Set(intake.accepted.map((e) => e.id)).size).toBe(intake.accepted.length);
  });

  it('keeps what is not accepted, over a kill too, and posts it oldest first without a second sample of anything', async () => {
    intake.mode = 'unavailable';
    await owner.advance(300);
    await owner.advance(300);
    expect(intake.accepted).toEqual([]);
    expect((await metering()).backlog).toBe(10);
    expect((await outputOf(() => h.driver.observe(aCall(ref)))).health).toBe('degraded');
    const { pid } = h.pid(ref);
    h.kill(ref);
    await eventually(() => processStartTicks(pid) === null);
    intake.mode = 'lose_answer';
    await h.driver.ensureRunning(ref);
    await eventually(() => intake.accepted.length === 10);
    intake.mode = 'silent';
    await eventually(async () => (await metering()).lastError?.includes('no result'));
    const tried = intake.batches.length;
    expect(tried).toBeLessThan(20);
    intake.mode = 'half';
    await eventually(() => intake.duplicates > 0);
    intake.mode = 'good';
    await eventually(async () => (await metering()).backlog === 0);
    expect(intake.accepted.map((e) => Number(e.sequence))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(intake.accepted.at(-1)?.type).toBe('berth.watermark.v1');
  });

  it('puts aside what is refused for good, says so, and goes on', async () => {
    intake.rejects = (event) => (event.data.metric === 'requests' ? 'event.unknown_metric' : undefined);
    await owner.advance(300);
    expect(await metering()).toMatchObject({ backlog: 0, refused: 1 });
    const line = readFileSync(cellPaths(h.folder(ref)).refused, 'utf8').trim();
    expect(JSON.parse(line)).toMatchObject({ outcome: 'rejected', code: 'event.unknown_metric', event: { data: { metric: 'requests' } } });
    expect(intake.accepted).toHaveLength(4);
  });

  it('at a cut ends access first, then takes the last sample, and says whether it was accepted', async () => {
    await h.container(ref, p).getBlockBlobClient('b').uploadData(Buffer.alloc(77));
    const counters = await h.counters(ref, p.placementId);
    const call = aCall(ref);
    const { lastSample } = await outputOf(() => h.driver.suspend(call, { placementId: p.placementId, kind: 'access' }));
    expect(lastSample?.acknowledged).toBe(true);
    const last = intake.accepted.at(-1)!;
    expect(last).toMatchObject({ type: 'berth.watermark.v1', sequence: lastSample?.sequence, data: { through: lastSample?.at } });
    expect(intake.samples('requests', p.placementId)).toEqual([{ time: lastSample?.at, value: String(counters.requests) }]);
    expect(intake.samples('stored_bytes', p.placementId)).toEqual([{ time: lastSample?.at, value: '77' }]);
    // The same again is the same sample, not a new one.
    const again = aCall(ref);
    expect((await outputOf(() => h.driver.suspend(again, { placementId: p.placementId, kind: 'access' }))).lastSample).toEqual(lastSample);
    // Held bytes go on to be sampled while suspended; nothing is after the placement was closed.
    await owner.advance(300);
    expect(intake.samples('stored_bytes', p.placementId)).toHaveLength(2);
  });

  it('takes the last sample of a placement that leaves the list, unacknowledged while the intake is away, and none after', async () => {
    intake.mode = 'unavailable';
    const outcome = await h.configure(ref, []);
    expect(outcome.lastSamples).toMatchObject([{ placementId: p.placementId, acknowledged: false }]);
    expect(await refusalOf(h.service(ref, p).getProperties())).toEqual({ status: 403, code: 'AccountIsDisabled' });
    intake.mode = 'good';
    await eventually(async () => (await metering()).backlog === 0);
    const before = intake.accepted.length;
    expect(before).toBe(5);
    await owner.advance(900);
    expect(intake.accepted).toHaveLength(before);
  });

  it('never counts or samples its probe', async () => {
    const before = await h.status(ref);
    const call = aCall(ref);
    expect((await outputOf(() => h.driver.validate(call))).result).toBe('pass');
    await owner.advance(300);
    expect(new Set(intake.accepted.map((e) => e.subject))).toEqual(new Set([p.placementId, undefined]));
    expect((await h.status(ref)).placements).toEqual(before.placements);
  });

  it('samples on demand', async () => {
    const taken = await h.driver.sampleNow(ref, p.placementId);
    expect(taken).toMatchObject({ sequence: '5', acknowledged: true });
    expect(intake.accepted.at(-1)?.data.through).toBe(taken.at);
  });

  it('follows the intake to another address, and registers again with a clock owner that has forgotten it', async () => {
    const second = await new FakeIntake().start();
    await intake.stop();
    try {
      const next = h.another({ ingest: second.target });
      await next.supervise();
      owner.participants.clear();
      await eventually(() => owner.participants.has(`cell:${ref}`));
      await owner.advance(300);
      expect(second.samples('requests', p.placementId)).toHaveLength(1);
    } finally {
      intake = second;
    }
  });

  it('leaves the clock when it is stopped, and refuses a clock with an address outside of this machine', async () => {
    expect([...owner.participants.values()]).toMatchObject([{ name: `cell:${ref}`, order: 10 }]);
    const outside = h.another({ ingest: { url: 'https://intake.example/api/v1/usage-events', key: 'k' } });
    await expect(outside.ensureRunning(ref)).rejects.toMatchObject({ code: 'clock.not_loopback' });
    const clock = [...owner.participants.values()][0]!;
    expect((await fetch(clock.url, { method: 'POST', body: '{"phase":"settle"}' })).status).toBe(401);
    // The clock's token opens the clock and nothing else.
    expect((await fetch(clock.url.replace('/clock', '/status'), { headers: { authorization: `Bearer ${clock.token}` } })).status).toBe(401);
    await h.driver.shutdownAll();
    expect(owner.participants.size).toBe(0);
    expect(existsSync(cellPaths(h.folder(ref)).pid)).toBe(false);
  });

  it('over an upgrade counts each answered request once, keeps every sequence and the suspensions, and the same endpoint', async () => {
    const closed = aPlacement({ state: 'suspended' });
    await h.configure(ref, [p, closed]);
    const before = { counters: await h.counters(ref, p.placementId), metering: await metering(), pid: h.pid(ref) };
    const put = (name: string) => h.container(ref, p).getBlockBlobClient(name).uploadData(Buffer.alloc(1_000));
    let answered = 0;
    const clients = Array.from({ length: 4 }, async (_, i) => {
      for (let n = 0; ; n += 1) {
        try {
          await put(`c${i}-${n}`);
          answered += 1;
        } catch {
          return;
        }
      }
    });
    await eventually(() => answered > 20);
    const call = aCall(ref);
    await outputOf(() => h.driver.upgrade(call, { version: LATEST }));
    await Promise.all(clients);
    await put('afterwards');
    const status = await h.status(ref);
    expect(status.version).toBe(LATEST);
    expect(h.pid(ref)).toMatchObject({ gatewayPort: before.pid.gatewayPort, adminPort: before.pid.adminPort });
    expect(h.pid(ref).pid).not.toBe(before.pid.pid);
    expect(processStartTicks(before.pid.pid)).toBeNull();
    const after = await h.counters(ref, p.placementId);
    const requests = after.requests - before.counters.requests;
    // A graceful end lets what is on its way be counted: at most one for each client has no answer.
    expect(requests).toBeGreaterThanOrEqual(answered + 1);
    expect(requests).toBeLessThanOrEqual(answered + 1 + clients.length);
    expect(after.in - before.counters.in).toBe(requests * 1_000);
    expect(await refusalOf(h.service(ref, closed).getProperties())).toEqual({ status: 403, code: 'AccountIsDisabled' });
    await owner.advance(300);
    expect(status.metering.epoch).toBe(before.metering.epoch);
    expect(intake.accepted.map((e) => Number(e.sequence))).toEqual(intake.accepted.map((_, i) => i + 1));
    expect(intake.samples('requests', p.placementId).at(-1)?.value).toBe(String(after.requests));
  });
});
