import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CellEvent } from '../wire.js';
import { Journal } from './journal.js';

const event = (sequence: number): CellEvent => ({
  specversion: '1.0',
  id: `c.e.${sequence}`,
  source: '/cells/c',
  type: 'berth.sample.v1',
  time: '2026-01-01T00:00:00.000Z',
  subject: 'p',
  sequence: String(sequence),
  datacontenttype: 'application/json',
  data: { metric: 'requests', kind: 'counter', value: '1', epoch: 'e' },
});

describe('journal', () => {
  let folder: string;
  let path: string;
  let open: Journal[] = [];
  const journal = (options = {}): Journal => {
    const j = new Journal(path, options);
    open.push(j);
    return j;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-journal-'));
    path = join(folder, 'counters.journal');
  });
  afterEach(() => {
    for (const j of open) j.close();
    open = [];
    rmSync(folder, { recursive: true, force: true });
  });

  it('counts on where it was after it is opened again without having been closed', () => {
    const a = journal();
    a.add('p', 10, 20, 1);
    a.add('p', 1, 2, 1);
    const b = journal();
    expect(b.epoch).toBe(a.epoch);
    expect(b.of('p')).toEqual({ ingressBytes: 11n, egressBytes: 22n, requests: 2n });
    expect(b.of('q').requests).toBe(0n);
  });

  it('forgets a torn last line and goes on writing behind the last whole one', () => {
    const a = journal();
    a.add('p', 5, 0, 1);
    appendFileSync(path, '{"t":"d","p":"p","i":9');
    const b = journal();
    b.add('p', 1, 0, 1);
    expect(journal().of('p')).toEqual({ ingressBytes: 6n, egressBytes: 0n, requests: 2n });
  });

  it('survives being cut at any byte: the counters are those of the whole lines before the cut', () => {
    const a = journal();
    for (let i = 1; i <= 4; i += 1) a.add('p', i, 0, 1);
    const whole = readFileSync(path);
    const header = whole.indexOf(0x0a) + 1;
    for (let cut = header; cut <= whole.length; cut += 1) {
      writeFileSync(path, whole.subarray(0, cut));
      const lines = whole.subarray(header, cut).toString().split('\n').length - 1;
      const j = journal();
      expect(j.of('p').requests).toBe(BigInt(lines));
      expect(j.epoch).toBe(a.epoch);
      j.close();
    }
  });

  it('begins a new epoch only when the file is lost or damaged in its middle, and keeps the damaged one', () => {
    const a = journal();
    a.add('p', 5, 0, 1);
    a.add('p', 5, 0, 1);
    vi.spyOn(console, 'error').mockReturnValue();
    const bytes = readFileSync(path);
    bytes[bytes.indexOf(0x0a) + 2] = 0x00;
    writeFileSync(path, bytes);
    const b = journal();
    expect(b.epoch).not.toBe(a.epoch);
    expect(b.of('p').requests).toBe(0n);
    expect(readdirSync(folder).some((f) => f.includes('.damaged-'))).toBe(true);
    truncateSync(path, 0);
    expect(journal().epoch).not.toBe(b.epoch);
  });

  it('keeps the outbox, its order and the sequence over a restart, and settles from the head', () => {
    const a = journal();
    a.enqueue([event(1), event(2), event(3)]);
    a.settle(2, 1);
    const b = journal();
    expect(b.backlog.map((e) => e.sequence)).toEqual(['3']);
    expect(b.sequence).toBe(3n);
    expect(b.refused).toBe(1);
  });

  it('throws the oldest away when the backlog is full, and says how many', () => {
    const a = journal({ maxBacklog: 3 });
    for (let i = 1; i <= 5; i += 1) a.enqueue([event(i)]);
    expect(a.backlog.map((e) => e.sequence)).toEqual(['3', '4', '5']);
    expect(journal({ maxBacklog: 3 }).dropped).toBe(2);
  });

  it('stays small by compaction without losing a count, an event or the epoch', () => {
    const a = journal({ compactBytes: 4096 });
    a.enqueue([event(1)]);
    for (let i = 0; i < 1000; i += 1) a.add('p', 1, 2, 1);
    expect(statSync(path).size).toBeLessThan(8192);
    a.forget('nobody');
    const b = journal();
    expect(b.of('p')).toEqual({ ingressBytes: 1000n, egressBytes: 2000n, requests: 1000n });
    expect(b.backlog).toHaveLength(1);
    expect(b.epoch).toBe(a.epoch);
    expect(b.sequence).toBe(1n);
  });
});
