import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realNow } from '#platform';
import { ToyHouse } from '../testing/toy-house.js';
import { StateDoor } from './state-door.js';
import { pruneStates } from '../infra/prune-states.js';
import { PgStateWire } from '../infra/pg-state-wire.js';
import type { RunCredential } from './ports.js';

const later = (ms = 60_000): Date => new Date(realNow().getTime() + ms);
const LINEAGE = '5d0c1f0e-6f2a-4a55-9d5b-0e7b9c9b1c11';

describe('the state backend', () => {
  let h: ToyHouse;
  beforeAll(async () => {
    h = await new ToyHouse().start();
  });
  afterAll(() => h?.dispose());

  const newRef = (): string => `c-${randomUUID().slice(0, 8)}`;
  const issue = (clusterRef: string, fencingToken = 1, mode: 'read' | 'write' = 'write', expiresAt = later()): Promise<RunCredential> =>
    h.runs.issue({ clusterRef, operationId: randomUUID(), fencingToken, mode, expiresAt });
  const state = (serial: number, lineage = LINEAGE, text = ''): string =>
    JSON.stringify({ version: 4, serial, lineage, resources: [{ name: 'node' }], outputs: { text } });
  const send = (
    door: StateDoor,
    clusterRef: string,
    credential: RunCredential | null,
    method: string,
    body = '',
    lockId: string | null = null,
  ) =>
    door.handle({
      method,
      clusterRef,
      lockId,
      authorization: credential ? `Basic ${Buffer.from(`${credential.id}:${credential.secret}`).toString('base64')}` : undefined,
      contentMd5: undefined,
      body: Buffer.from(body),
    });
  const ask = (clusterRef: string, credential: RunCredential | null, method: string, body = '', lockId: string | null = null) =>
    send(h.door, clusterRef, credential, method, body, lockId);
  const lock = (clusterRef: string, credential: RunCredential, id: string) =>
    ask(clusterRef, credential, 'LOCK', JSON.stringify({ ID: id, Who: 'a worker', Operation: 'OperationTypeApply' }));
  const locked = async (clusterRef: string, token = 1): Promise<RunCredential> => {
    const credential = await issue(clusterRef, token);
    expect((await lock(clusterRef, credential, 'l1')).status).toBe(200);
    return credential;
  };
  const versions = (clusterRef: string) =>
    h.rows<{ version: number; serial: string; sealed: string | null }>(
      'select version, serial, sealed from terraform_state_versions where cluster_ref = $1 order by version',
      [clusterRef],
    );

  it('answers 404 before there is a state, and what was written afterwards', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    expect((await ask(ref, writer, 'GET')).status).toBe(404);
    expect((await ask(ref, writer, 'POST', state(1), 'l1')).status).toBe(200);
    expect(await ask(ref, writer, 'GET')).toEqual({ status: 200, body: state(1) });
    expect((await ask(ref, writer, 'UNLOCK', JSON.stringify({ ID: 'l1' }))).status).toBe(200);
  });

  it('keeps every version, sealed, and lets nobody change or delete one', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    for (const serial of [1, 2, 5]) expect((await ask(ref, writer, 'POST', state(serial, LINEAGE, 'plain-secret'), 'l1')).status).toBe(200);
    const kept = await versions(ref);
    expect(kept.map((v) => Number(v.serial))).toEqual([1, 2, 5]);
    expect(kept.every((v) => v.sealed!.startsWith('v1.') && !v.sealed!.includes('plain-secret'))).toBe(true);
    for (const sql of ['update terraform_state_versions set serial = 9', 'delete from terraform_state_versions'])
      await expect(h.rows(`${sql} where cluster_ref = $1`, [ref])).rejects.toThrow(/permission denied/);
  });

  it('forgets old versions, and never the current one nor the newest that are to be kept', async () => {
    const [one, other] = [newRef(), newRef()];
    for (const ref of [one, other]) {
      const writer = await locked(ref);
      for (const serial of [1, 2, 3, 4, 5]) expect((await ask(ref, writer, 'POST', state(serial), 'l1')).status).toBe(200);
    }
    const left = async (): Promise<number[][]> =>
      Promise.all([one, other].map(async (ref) => (await versions(ref)).map((v) => Number(v.serial))));
    const prune = (inMs: number, keep: number, most = 100) => h.db.ops((tx) => pruneStates(tx, { before: later(inMs), keep, most }));
    expect(await prune(-60_000, 1)).toBe(0);
    expect(await left()).toEqual([
      [1, 2, 3, 4, 5],
      [1, 2, 3, 4, 5],
    ]);
    expect(await prune(60_000, 3, 1)).toBe(1);
    await prune(60_000, 3);
    expect(await left()).toEqual([
      [3, 4, 5],
      [3, 4, 5],
    ]);
    await prune(60_000, 0);
    expect(await left()).toEqual([[5], [5]]);
    // What comes next goes on from there.
    expect((await ask(one, await locked(one, 2), 'POST', state(6), 'l1')).status).toBe(200);
    expect((await left())[0]).toEqual([5, 6]);
  });

  it('takes the same state twice as one, since the answer to the first may have been lost', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    for (const _ of [1, 2]) expect((await ask(ref, writer, 'POST', state(1), 'l1')).status).toBe(200);
    expect(await versions(ref)).toHaveLength(1);
  });

  it('refuses a serial that is not higher, and another lineage', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    await ask(ref, writer, 'POST', state(4), 'l1');
    expect(await ask(ref, writer, 'POST', state(4, LINEAGE, 'other'), 'l1')).toMatchObject({
      status: 409,
      body: expect.stringContaining('stale_serial'),
    });
    expect(await ask(ref, writer, 'POST', state(3), 'l1')).toMatchObject({ status: 409 });
    expect(await ask(ref, writer, 'POST', state(9, 'another-lineage'), 'l1')).toMatchObject({
      status: 409,
      body: expect.stringContaining('other_lineage'),
    });
    expect(await versions(ref)).toHaveLength(1);
  });

  it('shows the holder to whoever wants a lock that is held', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    const second = await lock(ref, writer, 'l2');
    expect(second.status).toBe(423);
    expect(JSON.parse(second.body)).toMatchObject({ ID: 'l1', Who: 'a worker' });
  });

  it('writes nothing without the lock, or with the id of another', async () => {
    const ref = newRef();
    const writer = await issue(ref);
    expect((await ask(ref, writer, 'POST', state(1), null)).status).toBe(409);
    await lock(ref, writer, 'l1');
    expect((await ask(ref, writer, 'POST', state(1), 'l2')).status).toBe(409);
    expect((await ask(ref, writer, 'UNLOCK', JSON.stringify({ ID: 'l2' }))).status).toBe(409);
    expect(await versions(ref)).toEqual([]);
  });

  it('shuts out a writer that was overtaken, though it holds the lock: it can neither write, nor unlock, nor delete', async () => {
    const ref = newRef();
    const old = await locked(ref, 1);
    const young = await issue(ref, 2);
    expect((await ask(ref, old, 'POST', state(1), 'l1')).status).toBe(403);
    expect((await ask(ref, old, 'UNLOCK', JSON.stringify({ ID: 'l1' }))).status).toBe(403);
    expect((await ask(ref, old, 'DELETE', '', 'l1')).status).toBe(403);
    expect((await lock(ref, old, 'l3')).status).toBe(403);
    // The lock of a dead run holds nobody up.
    expect((await lock(ref, young, 'l2')).status).toBe(200);
    expect((await ask(ref, young, 'POST', state(1), 'l2')).status).toBe(200);
    expect(await versions(ref)).toHaveLength(1);
  });

  it('lets the younger of two runs under one token write, and the older no more', async () => {
    const ref = newRef();
    const old = await locked(ref, 1);
    const young = await locked(ref, 1);
    expect((await ask(ref, old, 'POST', state(1), 'l1')).status).toBe(403);
    expect((await ask(ref, young, 'POST', state(1), 'l1')).status).toBe(200);
  });

  it('shuts out a writer as soon as a higher token was seen, before the new one has begun', async () => {
    const ref = newRef();
    const old = await locked(ref, 3);
    await h.rows(`insert into driver_fences values ('terraform', $1, 4) on conflict (driver, cluster_ref) do update set token = 4`, [ref]);
    expect((await ask(ref, old, 'POST', state(1), 'l1')).status).toBe(403);
    await expect(issue(ref, 3)).rejects.toMatchObject({ code: 'driver.fenced' });
  });

  it('goes on under a renewed lease, and not once another has taken over', async () => {
    const ref = newRef();
    const writer = await locked(ref, 1);
    expect(await h.runs.carry(writer.id, 5, later())).toBe(true);
    expect((await ask(ref, writer, 'POST', state(1), 'l1')).status).toBe(200);
    await issue(ref, 6);
    expect(await h.runs.carry(writer.id, 7, later())).toBe(false);
    expect((await ask(ref, writer, 'POST', state(2), 'l1')).status).toBe(403);
  });

  it('lets a lease run out: the lock is the lease', async () => {
    const ref = newRef();
    const writer = await issue(ref, 1, 'write', later(-1));
    expect((await lock(ref, writer, 'l1')).status).toBe(403);
    expect((await ask(ref, writer, 'GET')).status).toBe(403);
    const ended = await locked(ref, 1);
    await h.runs.end(ended.id);
    expect((await ask(ref, ended, 'POST', state(1), 'l1')).status).toBe(403);
  });

  it('lets a run that only plans read, and nothing else', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    await ask(ref, writer, 'POST', state(1), 'l1');
    const reader = await issue(ref, 0, 'read');
    expect((await ask(ref, reader, 'GET')).status).toBe(200);
    expect((await lock(ref, reader, 'l2')).status).toBe(403);
    expect((await ask(ref, reader, 'POST', state(2), 'l1')).status).toBe(403);
    expect((await ask(ref, writer, 'POST', state(2), 'l1')).status).toBe(200);
  });

  it('answers 401 to strangers, to a wrong secret and to the credential of another cluster', async () => {
    const [ref, other] = [newRef(), newRef()];
    const writer = await locked(ref);
    const foreign = await locked(other);
    expect((await ask(ref, null, 'GET')).status).toBe(401);
    expect((await ask(ref, { ...writer, secret: 'guessed' }, 'GET')).status).toBe(401);
    expect((await ask(ref, { id: 'no-uuid', secret: writer.secret }, 'GET')).status).toBe(401);
    for (const method of ['GET', 'POST', 'DELETE']) expect((await ask(ref, foreign, method, state(1), 'l1')).status).toBe(401);
  });

  it('refuses what is no state, what was broken on the way and what is too large', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    for (const bad of [
      '',
      'text',
      '{}',
      '{"version":3,"serial":1,"lineage":"x","resources":[]}',
      '{"version":4,"serial":1.5,"lineage":"x","resources":[]}',
    ])
      expect((await ask(ref, writer, 'POST', bad, 'l1')).status).toBe(400);
    const body = Buffer.from(state(1));
    const broken = { method: 'POST', clusterRef: ref, lockId: 'l1', authorization: basic(writer), body };
    expect((await h.door.handle({ ...broken, contentMd5: createHash('md5').update('other').digest('base64') })).status).toBe(400);
    const small = new StateDoor(new PgStateWire(h.db, h.sealer), 50);
    expect((await small.handle({ ...broken, contentMd5: undefined })).status).toBe(413);
    expect(await versions(ref)).toEqual([]);
    expect((await ask(ref, writer, 'PATCH')).status).toBe(405);
  });

  it('keeps the versions of a state that was removed, and begins anew after them', async () => {
    const ref = newRef();
    const writer = await locked(ref);
    await ask(ref, writer, 'POST', state(3), 'l1');
    expect((await ask(ref, writer, 'DELETE', '', 'l1')).status).toBe(200);
    expect((await ask(ref, writer, 'GET')).status).toBe(404);
    expect((await ask(ref, writer, 'POST', state(1, 'a-new-lineage'), 'l1')).status).toBe(200);
    expect((await versions(ref)).map((v) => v.sealed !== null)).toEqual([true, false, true]);
  });

  const basic = (c: RunCredential): string => `Basic ${Buffer.from(`${c.id}:${c.secret}`).toString('base64')}`;
});
