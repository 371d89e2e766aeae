import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BerthConfig, Database } from '#platform';
import type { Keys } from '#tenancy';

/**
 * A fresh installation has one operator key, written to a file only its owner can read. It is made once: later starts find
 * the key in the database and the file where it was left (or deleted by a careful person).
 */
export async function ensureFirstOperatorKey(db: Database, keys: Keys, config: BerthConfig): Promise<{ file: string | null }> {
  const file = join(config.dataDir, 'operator.key');
  return db.ops(async (tx) => {
    await tx.query('select pg_advisory_xact_lock(7205314)');
    const [known] = await tx.query(`select 1 from api_keys where kind = 'operator' limit 1`);
    if (known) return { file: existsSync(file) && readFileSync(file, 'utf8').trim() ? file : null };
    const { key } = await keys.issue(tx, { kind: 'operator', name: 'first operator' });
    writeFileSync(file, `${key}\n`, { mode: 0o600 });
    return { file };
  });
}
