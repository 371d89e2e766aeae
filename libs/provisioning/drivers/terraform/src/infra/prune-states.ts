import type { Tx } from '#platform';

/**
 * Takes away versions of state that were written before `before` (real time) and are not among the newest `keep` of their cluster; at
 * most `most`, oldest first. The current one stays whatever its age. Answers how many went.
 */
export async function pruneStates(tx: Tx, { before, keep, most }: { before: Date; keep: number; most: number }): Promise<number> {
  const [row] = await tx.query<{ n: number }>('select prune_terraform_states($1, $2, $3) as n', [before, keep, most]);
  return row!.n;
}
