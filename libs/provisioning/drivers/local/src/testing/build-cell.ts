/** Tests run from source, a cell runs compiled: compiles the cell once per content of its sources. Test set-up only. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { projectRoot } from '#platform';

/** Path of the compiled `cell/main.js`. */
export function builtCell(): string {
  const source = fileURLToPath(new URL('..', import.meta.url));
  const files = [source, join(source, 'cell')].flatMap((folder) =>
    readdirSync(folder)
      .filter((f) => f.endsWith('.ts'))
      .sort()
      .map((f) => join(folder, f)),
  );
  const digest = createHash('sha256');
  for (const file of files) digest.update(file).update(readFileSync(file));
  const root = projectRoot();
  const cache = join(root, 'node_modules', '.cache', 'berth-cell');
  const target = join(cache, digest.digest('hex').slice(0, 20));
  const entry = join(target, 'libs/provisioning/drivers/local/src/cell/main.js');
  if (existsSync(entry)) return entry;
  const temporary = `${target}.${process.pid}`;
  mkdirSync(temporary, { recursive: true });
  const config = join(temporary, 'tsconfig.json');
  writeFileSync(join(temporary, 'package.json'), '{"type":"module"}');
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: { rootDir: root, outDir: temporary, noCheck: true, typeRoots: [join(root, 'node_modules/@types')] },
      files: [join(source, 'cell/main.ts')],
      include: [],
    }),
  );
  execFileSync(process.execPath, [join(root, 'node_modules/tsgo/bin/tsc'), '-p', config], { stdio: 'pipe' });
  try {
    renameSync(temporary, target);
  } catch {
    // Another test process was faster.
    rmSync(temporary, { recursive: true, force: true });
  }
  return entry;
}
