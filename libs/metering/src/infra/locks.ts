import { arrayText, type Opening, type Tx } from '#platform';

const INTAKE_FENCE = 7_205_322;
const CLOSING_CLAIM = 7_205_323;

/**
 * Intake holds the fence of its shards shared, a closing holds it alone: a sample is either seen by the closing of its hour
 * or finds that hour closed and is marked late. Without it one that commits in between would be counted nowhere.
 */
export async function shareShards(tx: Tx, shards: Iterable<number>): Promise<void> {
  const sorted = [...new Set(shards)].sort((a, b) => a - b);
  for (const shard of sorted) await tx.query('select pg_advisory_xact_lock_shared($1, $2)', [INTAKE_FENCE, shard]);
}

const SHARE = `select count(*) from (select pg_advisory_xact_lock_shared(${INTAKE_FENCE}, s) from unnest($1::int[]) s) fence`;

/** The same as one statement that opens a transaction, in the same order of shards; none for no shard. */
export function sharedShards(shards: ReadonlySet<number>): Opening | null {
  return shards.size === 0 ? null : { text: SHARE, values: [arrayText([...shards].sort((a, b) => a - b))] };
}

/** One closer per shard at a time; false where another worker is at it. */
export async function claimShard(tx: Tx, shard: number): Promise<boolean> {
  const [row] = await tx.query<{ got: boolean }>('select pg_try_advisory_xact_lock($1, $2) as got', [CLOSING_CLAIM, shard]);
  if (!row?.got) return false;
  await tx.query('select pg_advisory_xact_lock($1, $2)', [INTAKE_FENCE, shard]);
  return true;
}
