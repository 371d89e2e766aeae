import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqlMigrations } from './migrate.js';

describe('the migrations of a folder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-migrations-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const write = (...names: string[]): void =>
    names.forEach((name) => ['up', 'down'].forEach((way) => writeFileSync(join(folder, `${name}.${way}.sql`), 'select 1;')));

  it('run in the order of their numbers', () => {
    write('0002_b', '0001_a', '0010_c');
    expect(sqlMigrations(folder).map((Each) => new Each().name)).toEqual(['a1700000000001', 'b1700000000002', 'c1700000000010']);
  });

  it('are refused where two share a number', () => {
    write('0001_a', '0002_b', '0002_c');
    expect(() => sqlMigrations(folder)).toThrow('two migrations have the number 0002; give 0002_c.up.sql the next free one');
  });
});
