import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ENGINE_SOURCE, SAMPLE_TYPE } from '#metering';
import { requestPublisherChange } from '../src/processes/publisher-change.js';
import { Flows } from './support/flows.js';

const MIB = 1_048_576;
const HOUR = 3_600_000;

/** Catalog: standard allows 128 MiB, premium 256. What is stored is what the placement's cell has posted last. */
describe('a change to less, by what is stored where the purchase is served', () => {
  let f: Flows;
  let id: string;
  let externalId: string;
  beforeEach(async () => {
    f = await Flows.open();
    ({ id, externalId } = await f.serve('Tide archive', { externalPlanId: 'premium' }));
    f.clock.advance(HOUR);
  });
  afterEach(() => f?.close());

  let sequence = 0;
  /** As the cell posts it to the usage API. */
  async function told(bytes: number, at = f.clock.now()): Promise<void> {
    const [bound] = await f.rows<{ placement_id: string; source: string }>(
      'select placement_id, source from usage_bindings where subscription_id = $1 and valid_until is null',
      [id],
    );
    sequence += 1;
    const { results } = await f.p.metering.ingest({ kind: 'cell', keyId: 'k', clusterId: bound!.source.split('/').at(-1)! }, [
      {
        specversion: '1.0',
        id: `sample-${sequence}`,
        source: bound!.source,
        type: SAMPLE_TYPE,
        time: at.toISOString(),
        subject: `pla_${bound!.placement_id}`,
        sequence: String(sequence),
        data: { metric: 'stored_bytes', kind: 'gauge', value: String(bytes), epoch: 'e1' },
      },
    ]);
    expect(results).toMatchObject([{ outcome: 'accepted' }]);
  }
  const ours = (toExternalPlanId = 'standard') =>
    f.db.ops((tx) =>
      requestPublisherChange(f.p, tx, {
        subscriptionId: id,
        change: { kind: 'plan', toExternalPlanId },
        reason: 'The buyer asked for it.',
        requestedBy: 'key-1',
        actor: 'operator:key-1',
      }),
    );
  const theirs = (externalPlanId = 'standard') => f.deliver(f.market.requestChange(externalId, { externalPlanId }).message);
  const planOf = async (): Promise<string> => (await f.db.ops((tx) => f.p.subscriptions.get(tx, id))).externalPlanId;
  const reasons = async (): Promise<(string | null)[]> =>
    (await f.rows<{ reason: string | null }>('select reason from change_requests order by created_at')).map((r) => r.reason);

  it('is refused by its code while more is stored than that allows, and agreed once the data has shrunk', async () => {
    await told(129 * MIB);
    await expect(ours()).rejects.toMatchObject({ kind: 'conflict', code: 'change.stored_more' });
    expect(await theirs()).toMatchObject({ status: 400 });
    await f.settle(20_000);
    expect(await reasons()).toEqual([expect.stringContaining('More is stored than plan standard allows, as told at 2030-05-01T11:')]);
    f.clock.advance(300_000);
    await told(128 * MIB);
    expect(await theirs()).toMatchObject({ status: 200 });
    await f.settle(60_000);
    expect(await planOf()).toBe('standard');
  });

  it('is refused by another code where nobody has told for an hour, until somebody does', async () => {
    await told(100 * MIB);
    f.clock.advance(2 * HOUR);
    await expect(ours()).rejects.toMatchObject({ kind: 'conflict', code: 'change.stored_unknown' });
    expect(await theirs()).toMatchObject({ status: 400 });
    // What came late tells of a time before; the newest one counts.
    await told(10 * MIB, new Date(f.clock.now().getTime() - 90 * 60_000));
    await expect(ours()).rejects.toMatchObject({ code: 'change.stored_unknown' });
    await told(100 * MIB);
    expect(await ours()).toMatchObject({ state: 'requested' });
  });

  it('is refused for what was too much a month ago, and has not been told of since', async () => {
    await told(200 * MIB);
    f.clock.advance(34 * 24 * HOUR);
    await expect(ours()).rejects.toMatchObject({ code: 'change.stored_more' });
  });

  it('is no matter of what our own house or another metric counts, and is agreed where nothing was ever told', async () => {
    expect(await f.rows('select 1 from usage_events where source = $1', [ENGINE_SOURCE])).not.toEqual([]);
    expect(await ours()).toMatchObject({ state: 'requested' });
  });

  it('is carried out where the marketplace has decided it, however much is stored', async () => {
    await told(200 * MIB);
    f.market.patch(externalId, { externalPlanId: 'standard' });
    await f.deliver(f.market.message(externalId, 'changed'));
    await f.settle(60_000);
    expect(await planOf()).toBe('standard');
    // And back: more is never too little.
    expect(await theirs('premium')).toMatchObject({ status: 200 });
  });
});
