import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMissingLinks, findNativeFolder, firstClosedFolder, NOBODY, usableNativeFolder } from './binaries.js';
import { EmbeddedStartError } from './embedded.errors.js';

describe('the binaries of the embedded Postgres', () => {
  let folder: string;
  let native: string;
  const library = (name: string): string => join(native, 'lib', name);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-binaries-'));
    chmodSync(folder, 0o755);
    native = join(folder, 'package', 'native');
    mkdirSync(join(native, 'bin'), { recursive: true });
    mkdirSync(join(native, 'lib'));
    writeFileSync(join(native, 'bin', 'postgres'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(library('libx.so.1.2'), 'library');
    writeFileSync(join(native, 'pg-symlinks.json'), JSON.stringify([{ source: 'native/lib/libx.so.1.2', target: 'native/lib/libx.so.1' }]));
    writeFileSync(join(dirname(native), 'package.json'), JSON.stringify({ version: '18.0.0-test' }));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('makes the library links again that an install without scripts left out', () => {
    expect(createMissingLinks(native)).toBe(true);
    expect(lstatSync(library('libx.so.1')).isSymbolicLink()).toBe(true);
    expect(readFileSync(library('libx.so.1'), 'utf8')).toBe('library');
    expect(createMissingLinks(native)).toBe(true);
  });

  it('makes no link outside the native folder, whatever the list says', () => {
    writeFileSync(join(native, 'pg-symlinks.json'), JSON.stringify([{ source: 'native/lib/libx.so.1.2', target: '../outside.so' }]));
    createMissingLinks(native);
    expect(existsSync(join(folder, 'outside.so'))).toBe(false);
  });

  it('names the closed folder that another user cannot pass', () => {
    chmodSync(join(folder, 'package'), 0o700);
    expect(firstClosedFolder(join(native, 'bin'), { uid: 4_000_000, gid: 4_000_000 })).toBe(join(folder, 'package'));
    chmodSync(join(folder, 'package'), 0o755);
    expect(firstClosedFolder(join(native, 'bin'), { uid: 4_000_000, gid: 4_000_000 })).toBeUndefined();
  });

  it('runs from a copy that all may read when the package lies below a closed home, and makes the copy once', () => {
    chmodSync(join(folder, 'package'), 0o700);
    const cache = join(folder, 'cache');
    mkdirSync(cache, { mode: 0o755 });
    const stranger = { uid: 4_000_000, gid: 4_000_000 };
    const copy = usableNativeFolder(native, stranger, cache);
    expect(copy.startsWith(cache)).toBe(true);
    expect(firstClosedFolder(join(copy, 'bin'), stranger)).toBeUndefined();
    expect(statSync(join(copy, 'bin', 'postgres')).mode & 0o055).toBe(0o055);
    expect(readFileSync(join(copy, 'lib', 'libx.so.1'), 'utf8')).toBe('library');
    const made = statSync(copy).ino;
    expect(statSync(usableNativeFolder(native, stranger, cache)).ino).toBe(made);
  });

  it('does not run a cached copy that others may write to', () => {
    chmodSync(join(folder, 'package'), 0o700);
    const cache = join(folder, 'cache');
    mkdirSync(cache, { mode: 0o755 });
    const first = usableNativeFolder(native, { uid: 4_000_000, gid: 4_000_000 }, cache);
    chmodSync(dirname(first), 0o777);
    expect(usableNativeFolder(native, { uid: 4_000_000, gid: 4_000_000 }, cache)).not.toBe(first);
  });

  it('says in one line that a platform without binaries needs DATABASE_URL', () => {
    expect(() => findNativeFolder('plan9', 'mips')).toThrow(EmbeddedStartError);
    expect(() => findNativeFolder('plan9', 'mips')).toThrow(/^there is no embedded Postgres for plan9-mips .*DATABASE_URL[^\n]*$/);
  });

  it('drops to a user that exists on every Debian', () => {
    expect(NOBODY).toEqual({ uid: 65534, gid: 65534 });
    const real = findNativeFolder();
    cpSync(join(real, 'pg-symlinks.json'), join(folder, 'list.json'));
    expect((JSON.parse(readFileSync(join(folder, 'list.json'), 'utf8')) as unknown[]).length).toBeGreaterThan(5);
  });
});
