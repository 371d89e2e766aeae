import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let root: string | undefined;

/** The folder that holds package.json, `migrations/` and `catalog/`, found from this file's own place (source or dist). */
export function projectRoot(): string {
  if (root) return root;
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!(existsSync(join(dir, 'package.json')) && existsSync(join(dir, 'migrations')))) {
    const up = dirname(dir);
    if (up === dir) throw new Error('the project folder (package.json beside migrations/) was not found above ' + import.meta.url);
    dir = up;
  }
  return (root = dir);
}
