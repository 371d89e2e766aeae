import { describe, expect, it } from 'vitest';
import { judgeInventory, type InventoryItem } from './inventory.js';

const item = (change: Partial<InventoryItem>): InventoryItem => ({
  externalId: 'ip-1',
  kind: 'reserved-ip',
  clusterRef: 'known',
  state: 'running',
  managed: true,
  detail: '',
  ...change,
});
const verdicts = (...items: InventoryItem[]): string[] => judgeInventory(items, new Set(['known'])).map((j) => j.verdict);

describe('what an inventory shows', () => {
  it('is live when its cluster is known and it runs, and stale when it does not run: a reserved address without a machine', () => {
    expect(verdicts(item({}), item({ state: 'stopped' }), item({ state: 'broken' }))).toEqual(['live', 'stale', 'stale']);
  });

  it('is nobody’s when its label names no cluster, or one that is not known, however well it runs', () => {
    expect(verdicts(item({ clusterRef: null }), item({ clusterRef: 'of-a-failed-attempt' }))).toEqual(['orphan', 'orphan']);
  });

  it('is not judged when it was let go on purpose', () => {
    expect(verdicts(item({ managed: false, clusterRef: null }))).toEqual([]);
  });
});
