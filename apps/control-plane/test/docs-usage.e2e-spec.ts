import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { House } from './support/house.js';

interface Command {
  text: string;
  status: number;
  /** What the guide says comes back. */
  body: unknown;
}

/** The guide's commands, each with the answer in the comment behind it. */
function commandsOf(guide: string): Command[] {
  return [...guide.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block]) => {
    const parts = block!.split(/^# (\d{3}) (.*)$/m);
    expect(parts.at(-1)!.trim(), 'a command whose answer is not told').toBe('');
    const commands: Command[] = [];
    for (let i = 0; i + 2 < parts.length; i += 3)
      commands.push({ text: parts[i]!.trim(), status: Number(parts[i + 1]), body: JSON.parse(parts[i + 2]!) });
    return commands;
  });
}

/** curl writes the status behind the body; `-w` is the only thing that is added to what the guide says. */
const run = (text: string, environment: Record<string, string>): Promise<{ status: number; body: unknown }> =>
  new Promise((resolve, reject) => {
    const command = text.replace(/curl -s /, `curl -s -w '\\n%{http_code}' `);
    execFile('sh', ['-c', command], { env: { PATH: process.env['PATH'], ...environment }, timeout: 30_000 }, (error, out, errors) => {
      const [, body, status] = /^([\s\S]*)\n(\d{3})$/.exec(out) ?? [];
      if (error || !status) reject(new Error(`${text}\n${errors}${out}`));
      else resolve({ status: Number(status), body: JSON.parse(body!) });
    });
  });

describe('the guide on posting usage', () => {
  const house = new House();
  const guide = readFileSync(join(projectRoot(), 'docs/guides/usage.md'), 'utf8');
  const commands = commandsOf(guide);
  const placementId = randomUUID();
  let hour = '';
  beforeAll(async () => {
    await house.start();
    const { sessionId, externalId } = await house.buy('Plant');
    await house.land(sessionId, 'Plant Works');
    const sub = await house.subscriptionOf(externalId);
    // The hour before the purchase: a placement was bound by then, to the source that the guide names.
    hour = new Date(Date.parse(String(sub['createdAt'])) - 3_600_000).toISOString().slice(0, 13);
    await house.sql(
      `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from)
       select $1, tenant_id, subscription_id, '/cells/plant', $2 from subscriptions where external_subscription_id = $3`,
      [placementId, `${hour}:00:00Z`, externalId],
    );
  }, 170_000);
  afterAll(() => house.stop(), 30_000);

  const asHere = (text: string): string =>
    text
      .replaceAll('https://berth.example', house.controlPlane.url)
      .replaceAll('pla_0198…', `pla_${placementId}`)
      .replaceAll('2026-03-10T10', hour);

  it('has a command for each way that it tells of', () => {
    const all = commands.map((c) => c.text).join('\n');
    for (const word of ['cloudevents+json', 'cloudevents-batch+json', 'ce-id:', 'gzip', 'berth.watermark.v1', '"split"'])
      expect(all).toContain(word);
    expect(commands.length).toBeGreaterThanOrEqual(6);
  });

  it('tells of each command what a real control plane answers, in the order of the page', async () => {
    for (const { text, status, body } of commands) {
      const answer = await run(asHere(text), { KEY: house.key });
      expect(answer.status, text).toBe(status);
      // A refusal of one event, and of a request, has words besides what the guide quotes.
      expect(answer.body, text).toMatchObject(body as object);
    }
    const samples = await house.sql(`select event_id, value::text, split from usage_events where placement_id = $1 order by sequence`, [
      placementId,
    ]);
    expect(samples).toEqual([
      { event_id: 'meter-7.run3.1', value: '1073741824', split: null },
      { event_id: 'meter-7.run3.2', value: '1073741824', split: null },
      { event_id: 'meter-7.run3.3', value: '2147483648', split: [{ labels: { department: 'it' }, value: '1073741824' }] },
    ]);
  });

  it('names every code that an event may be refused with, and none that does not exist', () => {
    const source = readFileSync(join(projectRoot(), 'libs/metering/src/domain/usage-event.ts'), 'utf8');
    const known = [
      ...source.slice(source.indexOf('type UsageRejection'), source.indexOf('export interface Rejection')).matchAll(/'(usage\.\w+)'/g),
    ].map((m) => m[1]!);
    const told = new Set([...guide.matchAll(/`(usage\.\w+)`/g)].map((m) => m[1]!));
    expect(known.filter((code) => !told.has(code))).toEqual([]);
    const everywhere = [
      'usage.no_events',
      'usage.not_one_event',
      'usage.not_a_batch',
      'usage.invalid_header',
      'usage.batch_too_large',
      'usage.content_type_unsupported',
      'usage.duplicate_id',
    ];
    expect([...told].filter((code) => !known.includes(code) && !everywhere.includes(code))).toEqual([]);
  });
});
