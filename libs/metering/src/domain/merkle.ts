import { sha256Hex } from '#platform';

/** Merkle root over leaf hashes in the given order; leaves and inner nodes are hashed apart, a lone node is passed up. */
export function merkleRoot(leaves: readonly string[]): string {
  if (leaves.length === 0) return sha256Hex('empty');
  let level = leaves.map((l) => sha256Hex(`leaf:${l}`));
  while (level.length > 1) {
    const up: string[] = [];
    for (let i = 0; i < level.length; i += 2) up.push(i + 1 < level.length ? sha256Hex(`node:${level[i]}:${level[i + 1]}`) : level[i]!);
    level = up;
  }
  return level[0]!;
}

export const chainedRoot = (previous: string, root: string): string => sha256Hex(`chain:${previous}:${root}`);

/** Which of 64 shards a subscription's series are closed in. */
export const SHARDS = 64;
export function shardOf(subscriptionId: string): number {
  let shard = shards.get(subscriptionId);
  if (shard !== undefined) return shard;
  shard = parseInt(sha256Hex(subscriptionId).slice(0, 8), 16) % SHARDS;
  if (shards.size >= MOST_SHARDS) shards.clear();
  shards.set(subscriptionId, shard);
  return shard;
}

/** Asked for every subscription of every commit of intake. */
const shards = new Map<string, number>();
const MOST_SHARDS = 50_000;
