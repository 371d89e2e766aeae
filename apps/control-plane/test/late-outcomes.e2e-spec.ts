import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { House, until } from './support/house.js';

const DAY_MS = 86_400_000;
const house = new House();
let id: string;
beforeAll(async () => {
  await house.start();
  const { sessionId, externalId } = await house.buy('Lost answers');
  await house.land(sessionId, 'Lost Answers');
  id = String((await house.subscriptionOf(externalId))['id']);
}, 120_000);
afterAll(() => house.stop(), 30_000);

const berth = (...args: string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [join(projectRoot(), 'dist/apps/cli/src/main.js'), ...args],
      { env: { PATH: process.env['PATH'], BERTH_URL: house.controlPlane.url, BERTH_KEY: house.key }, timeout: 60_000 },
      (error, out, errors) => (error ? reject(new Error(`${out}${errors}`)) : resolve(out)),
    );
  });
const advance = async (seconds: number, stepSeconds: number): Promise<void> => {
  const { status, text } = await house.shop('POST', '/clock/advance', { seconds, stepSeconds });
  if (status !== 200) throw new Error(text);
};
const unknowns = async (): Promise<Record<string, unknown>[]> =>
  (await house.api('GET', `/findings?kind=unknown_outcome&subscriptionId=${id}&limit=200`)).json.items!;
const run = async (body: Record<string, unknown>): Promise<Record<string, unknown>> => {
  const asked = await until(
    () => house.api('POST', '/reconciliations', body),
    (a) => a.json['code'] !== 'reconciliation.under_way',
  );
  const done = await until(
    () => house.api('GET', `/reconciliations/${String(asked.json['id'])}`),
    (a) => a.json['state'] === 'done' || a.json['state'] === 'failed',
  );
  return done.json;
};

describe('usage that Azure took, and whose answers were lost for longer than a day', () => {
  it('is unknown, and told by the day’s read-back once the day is whole; the explanation says so', async () => {
    const fault = await house.shop('POST', '/faults', { marketplace: 'azure', kind: 'drop_after', operation: 'batchUsageEvent', rate: 1 });
    expect(fault.status).toBe(201);
    await advance(4_500, 1_500);
    await advance(26 * 3_600, 6 * 3_600);
    const lost = await until(unknowns, (all) => all.length > 0);
    await house.shop('DELETE', `/faults/${String(fault.json['id'])}`);
    const days = lost.map((f) => Math.floor(Date.parse(String(f['hour'])) / DAY_MS) * DAY_MS);
    const [from, to] = [Math.min(...days), Math.max(...days) + DAY_MS];
    const span = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
    const { now } = (await house.shop('GET', '/clock')).json;
    // The last of that day may be sent for a day, and shows an hour later.
    await advance(Math.ceil((to + DAY_MS + 2 * 3_600_000 - Date.parse(String(now))) / 1_000), 12 * 3_600);
    const done = await run({ kinds: ['read_back', 'sum_law'], marketplace: 'azure', ...span });
    expect(done).toMatchObject({ state: 'done', agreed: true });

    // Hours after that day may have run past their deadline meanwhile: the comparison of that span says nothing of them.
    const settled = (await unknowns()).filter((f) => Date.parse(String(f['hour'])) < to);
    expect(settled.length).toBeGreaterThanOrEqual(lost.length);
    for (const f of settled)
      expect(f['settlement']).toMatchObject({
        kind: 'fix_mapping',
        actor: expect.stringMatching(/^reconciliation:/),
        reason: 'a comparison told its outcome',
        effect: expect.stringContaining('so all of it was taken'),
      });
    const records = (await house.api('GET', `/usage-records?subscriptionId=${id}&limit=200`)).json.items!;
    const told = (
      await house.sql('select i.record_id, i.state, i.last_code from submission_items i join late_outcomes o using (item_id)')
    ).map((r) => ({ id: `rec_${String(r['record_id'])}`, state: r['state'], code: r['last_code'] }));
    expect(told.length).toBe(settled.length);
    expect(told.every((t) => t.state === 'accepted' && t.code === 'read_back')).toBe(true);
    expect(records.filter((r) => told.some((t) => t.id === r['id'])).every((r) => r['submissionState'] === 'accepted')).toBe(true);
    expect(await berth('explain', told[0]!.id)).toContain('No answer told how that ended. What azure says it took, as of ');
    const audit = await house.sql(
      `select 1 from audit_events where action = 'finding.settled' and detail ->> 'effect' like '%all of it was taken%'`,
    );
    expect(audit).toHaveLength(settled.length);
  }, 170_000);
});
