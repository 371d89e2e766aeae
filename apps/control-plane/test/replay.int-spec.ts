import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, EGRESS, GIB, Harness, MIB, STORED } from '#metering/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { perform, type Wish } from '../src/replay/commands.js';

let origin: TestDatabase;
let folder: string;
const emptied: string[] = [];
const file = (name: string): string => join(folder, name);
const env = (over: Record<string, string> = {}): Record<string, string> => ({
  DATABASE_URL: origin.url(),
  BERTH_SECRET: origin.secret,
  BERTH_DATA: folder,
  ...over,
});
const asked = (wish: Wish, over: Record<string, string> = {}): Promise<Record<string, unknown>> =>
  perform(wish, env(over), () => undefined);

/** Runs on the server of the tests, as its superuser. */
async function onServer(sql: string): Promise<void> {
  const admin = new pg.Client({ connectionString: origin.url() });
  await admin.connect();
  await admin.query(sql).finally(() => admin.end());
}
async function emptyDatabase(): Promise<string> {
  const name = `${origin.name}_${emptied.length}`;
  await onServer(`create database ${name}`);
  emptied.push(name);
  const url = new URL(origin.url());
  url.pathname = `/${name}`;
  return url.toString();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-replay-test-'));
  origin = await createTestDatabase();
  const h = await Harness.open(origin.url(), origin.secret, at('10T10:00'));
  try {
    const p = await h.buy(await h.fixtures.plan([STORED, EGRESS]), at('10T10:00'));
    h.clock.set(at('10T12:00'));
    await h.report([p.placementId], at('10T10:00'), at('10T12:00'), 3n * GIB, MIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
  } finally {
    await h.close();
  }
  await asked({ command: 'journal', out: file('whole.ndjson.gz') });
});
afterAll(async () => {
  for (const name of emptied) await onServer(`drop database if exists ${name} with (force)`);
  await origin.drop();
  rmSync(folder, { recursive: true, force: true });
});

describe('a journal as a file', () => {
  it('goes into an empty database and gives the hash that the installation has; nobody else may read it', async () => {
    expect(statSync(file('whole.ndjson.gz')).mode & 0o077).toBe(0);
    const { ledgerHash } = await asked({ command: 'ledger-hash' });
    const into = await emptyDatabase();
    expect(await asked({ command: 'replay', from: file('whole.ndjson.gz'), into })).toMatchObject({
      ledgerHash,
      journalHash: ledgerHash,
      equal: true,
      purchases: 1,
      different: [],
      sumLaw: [],
      leftOut: 0,
      from: '2026-03-10T10:00:00.000Z',
      to: '2026-03-10T12:00:00.000Z',
    });
    // It is not empty any more.
    await expect(asked({ command: 'replay', from: file('whole.ndjson.gz'), into })).rejects.toMatchObject({
      code: 'replay.database_not_empty',
    });
    const plain = await asked({ command: 'journal', out: file('plain.ndjson') });
    expect(plain['ledgerHash']).toBe(ledgerHash);
    expect(readFileSync(file('plain.ndjson'), 'utf8').trimEnd().split('\n')).toHaveLength(Number(plain['lines']) + 1);
  });

  it('is refused where it was cut, is not there, or would overwrite another', async () => {
    const whole = readFileSync(file('whole.ndjson.gz'));
    writeFileSync(file('cut.ndjson.gz'), whole.subarray(0, whole.length - 200));
    writeFileSync(file('torn.ndjson.gz'), Buffer.concat([whole.subarray(0, 100), Buffer.alloc(200, 7), whole.subarray(300)]));
    const refused = (from: string): Promise<unknown> =>
      asked({ command: 'replay', from: file(from), into: 'postgres://nobody@127.0.0.1:1/none' }).catch(
        (error: unknown) => (error as { code: unknown }).code,
      );
    expect(await refused('cut.ndjson.gz')).toBe('journal.cut');
    expect(await refused('torn.ndjson.gz')).toBe('journal.changed');
    expect(await refused('none.ndjson')).toBe('journal.not_found');
    expect(await refused('none.ndjson.gz')).toBe('journal.not_found');
    await expect(asked({ command: 'journal', out: file('whole.ndjson.gz') })).rejects.toMatchObject({ code: 'journal.file_exists' });
    await expect(asked({ command: 'journal', out: join(folder, 'no', 'folder.ndjson') })).rejects.toThrow(/ENOENT/);
  });

  it('is not replayed where an installation would be locked out, and says what is missing', async () => {
    const wish: Wish = { command: 'replay', from: file('whole.ndjson.gz'), into: await emptyDatabase() };
    await expect(asked(wish, { BERTH_SECRET: 'the secret of somebody else' })).rejects.toMatchObject({ code: 'replay.foreign_roles' });
    await expect(asked(wish, { BERTH_SECRET: '' })).rejects.toThrow(/BERTH_SECRET is missing/);
    await expect(asked({ ...wish, into: 'mysql://x' })).rejects.toThrow(/--into is a URL/);
    await expect(perform({ command: 'ledger-hash' }, { BERTH_DATA: folder }, () => undefined)).rejects.toThrow(/no installation is found/);
    // The installation still opens its own database.
    expect(await asked({ command: 'ledger-hash' })).toHaveProperty('ledgerHash');
  });
});
