import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A named map whose every change is one line of the store's log. Values are plain JSON and are replaced whole. */
export class Table<T> {
  private readonly rows = new Map<string, T>();

  constructor(private readonly write: (key: string, value: T | undefined) => void) {}

  get(key: string): T | undefined {
    return this.rows.get(key);
  }

  has(key: string): boolean {
    return this.rows.has(key);
  }

  put(key: string, value: T): T {
    this.rows.set(key, value);
    this.write(key, value);
    return value;
  }

  delete(key: string): boolean {
    if (!this.rows.delete(key)) return false;
    this.write(key, undefined);
    return true;
  }

  clear(): void {
    for (const key of [...this.rows.keys()]) this.delete(key);
  }

  values(): T[] {
    return [...this.rows.values()];
  }

  entries(): [string, T][] {
    return [...this.rows.entries()];
  }

  get size(): number {
    return this.rows.size;
  }

  /** Only for replaying the log. */
  load(key: string, value: T | undefined): void {
    if (value === undefined) this.rows.delete(key);
    else this.rows.set(key, value);
  }
}

interface Line {
  t: string;
  k: string;
  v?: unknown;
}

const COMPACT_AFTER_LINES = 20_000;

/**
 * Append-only log of row changes. Each line is written with one synchronous write before the effect is
 * answered, so a killed process loses nothing it had told anybody; a torn last line is dropped on reading.
 */
export class Store {
  private readonly tables = new Map<string, Table<unknown>>();
  private readonly path: string | undefined;
  private file: number | undefined;
  private lines = 0;

  constructor(folder?: string) {
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    this.path = join(folder, 'state.jsonl');
    if (existsSync(this.path)) this.replay(readFileSync(this.path, 'utf8'));
    this.compact();
  }

  table<T>(name: string): Table<T> {
    let table = this.tables.get(name);
    if (!table) {
      table = new Table<unknown>((key, value) => this.append({ t: name, k: key, v: value }));
      this.tables.set(name, table);
    }
    return table as Table<T>;
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }

  private replay(text: string): void {
    for (const raw of text.split('\n')) {
      if (!raw) continue;
      let line: Line;
      try {
        line = JSON.parse(raw) as Line;
      } catch {
        continue;
      }
      this.table(line.t).load(line.k, line.v);
    }
  }

  private append(line: Line): void {
    if (this.file === undefined) return;
    writeSync(this.file, `${JSON.stringify(line)}\n`);
    this.lines += 1;
    if (this.lines > COMPACT_AFTER_LINES && this.lines > 4 * this.liveRows()) this.compact();
  }

  private liveRows(): number {
    let rows = 0;
    for (const table of this.tables.values()) rows += table.size;
    return rows;
  }

  /** Readable by this user only: it holds the signing key and the participants' tokens. Writes the live rows to a new file and puts it in the old one's place in one step. */
  private compact(): void {
    if (!this.path) return;
    const live: string[] = [];
    for (const [name, table] of this.tables) {
      for (const [key, value] of table.entries()) live.push(JSON.stringify({ t: name, k: key, v: value }));
    }
    writeFileSync(`${this.path}.new`, live.length ? `${live.join('\n')}\n` : '', { mode: 0o600 });
    renameSync(`${this.path}.new`, this.path);
    this.close();
    this.file = openSync(this.path, 'a');
    this.lines = live.length;
  }
}
