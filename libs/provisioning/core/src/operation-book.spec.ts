import { describe, expect, it } from 'vitest';
import { ManualClock } from '#platform/testing';
import { DriverError, MemoryOperationStore, OperationBook, type DriverErrorClass } from './index.js';
import { aCall, untilDone } from './testing/index.js';

const bookOf = (store = new MemoryOperationStore()): OperationBook => new OperationBook(store, new ManualClock(new Date(0)), 5);
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const nothing = (): void => undefined;

describe('the book of operations', () => {
  it.each<[DriverErrorClass, number]>([
    ['unknown', 2],
    ['throttled', 2],
    ['conflict', 1],
  ])('tells a failure of class %s that came while nobody waited once before it does the work again', async (errorClass, runs) => {
    const book = bookOf();
    let count = 0;
    const call = aCall('a-cluster');
    const ask = () =>
      book.run(call, 'apply', {}, nothing, async () => {
        count += 1;
        await pause(30);
        throw new DriverError(errorClass, 'some.code', 'words');
      });
    expect((await ask()).phase).toBe('running');
    await book.idle();
    expect(await ask()).toMatchObject({ phase: 'failed', error: { code: 'some.code' } });
    expect(count).toBe(1);
    await untilDone(ask);
    await book.idle();
    expect(count).toBe(runs);
  });

  it('does the work again for whoever has taken over, though the one who was shut out told that it failed', async () => {
    const store = new MemoryOperationStore();
    const call = aCall('a-cluster', { fencingToken: 1 });
    const first = bookOf(store);
    const shutOut = () =>
      first.run(call, 'apply', {}, nothing, async () => {
        throw new DriverError('conflict', 'driver.fenced', 'Token 1 was outrun.');
      });
    expect(await untilDone(shutOut)).toMatchObject({ phase: 'failed', error: { code: 'driver.fenced' } });
    const next = { ...call, fencingToken: 2 };
    expect(await untilDone(() => bookOf(store).run(next, 'apply', {}, nothing, async () => 'done'))).toMatchObject({ output: 'done' });
    await expect(shutOut()).rejects.toMatchObject({ code: 'driver.fenced' });
  });

  it('does the work again after a restart, which has no memory of what was told', async () => {
    const store = new MemoryOperationStore();
    let count = 0;
    const call = aCall('a-cluster');
    const ask = (book: OperationBook) =>
      book.run(call, 'apply', {}, nothing, async () => {
        count += 1;
        await pause(20);
        throw new DriverError('unknown', 'some.code', 'words');
      });
    const first = bookOf(store);
    await ask(first);
    await first.idle();
    const second = bookOf(store);
    await ask(second);
    await second.idle();
    expect(count).toBe(2);
  });

  it('aborts the step of a cancelled operation that listens', async () => {
    const book = bookOf();
    const call = aCall('a-cluster');
    const ask = () =>
      book.run(call, 'apply', {}, nothing, (steps) =>
        steps.step('long', async () => {
          steps.report('part', 'running', 'half of it');
          await new Promise((_, reject) =>
            steps.signal.addEventListener('abort', () => reject(new DriverError('conflict', 'operation.cancelled', 'stopped'))),
          );
        }),
      );
    const running = await ask();
    expect(running.progress).toContainEqual(expect.objectContaining({ step: 'part', state: 'running', detail: 'half of it' }));
    await book.cancel(aCall('a-cluster'), running.handle);
    expect((await untilDone(ask)).phase).toBe('cancelled');
  });

  it('lets a look that takes its time go beside the one writer, unfenced, with one answer for one id', async () => {
    const book = bookOf();
    const writer = aCall('a-cluster', { fencingToken: 9 });
    let release = nothing;
    const write = () => book.run(writer, 'apply', {}, nothing, () => new Promise<number>((done) => (release = () => done(1))));
    await write();
    let looks = 0;
    const look = aCall('a-cluster', { fencingToken: 0 });
    const read = () => book.read(look, 'plan', {}, async () => ++looks);
    expect((await untilDone(read)).output).toBe(1);
    expect((await untilDone(read)).output).toBe(1);
    expect((await write()).phase).toBe('running');
    release();
    expect((await untilDone(write)).output).toBe(1);
  });
});
