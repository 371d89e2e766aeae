import { beforeEach, describe, expect, it } from 'vitest';
import { InFlight } from './in-flight.js';

interface Work {
  end(well: boolean): Promise<void>;
  fail(error: Error): Promise<void>;
}
let flight: InFlight;
let works: Work[];
/** Starts as many as may start now. */
const fill = async (): Promise<number> => {
  for (;;) {
    let may = false;
    void flight.untilRoom().then(
      () => (may = true),
      () => undefined,
    );
    await new Promise(setImmediate);
    if (!may) return flight.size;
    flight.start(
      () =>
        new Promise((resolve, reject) =>
          works.push({
            end: async (well) => (resolve(well), void (await new Promise(setImmediate))),
            fail: async (error) => (reject(error), void (await new Promise(setImmediate))),
          }),
        ),
    );
  }
};
beforeEach(() => {
  flight = new InFlight(3);
  works = [];
});

describe('works in flight', () => {
  it('begin with one, and who never answers is asked with one', async () => {
    expect(await fill()).toBe(1);
    await works[0]!.end(false);
    expect(await fill()).toBe(1);
  });

  it('grow with each that goes well, to the most there may be, and fall back to one', async () => {
    await fill();
    const sizes: number[] = [];
    for (const well of [true, true, true, true, false]) {
      await works.shift()!.end(well);
      sizes.push(await fill());
    }
    // After the failure no other starts until only room for one is left.
    expect(sizes).toEqual([2, 3, 3, 3, 2]);
    await works.shift()!.end(true);
    expect(await fill()).toBe(2);
  });

  it('tell what one of them threw, once nothing is lost of the others', async () => {
    await fill();
    await works.shift()!.end(true);
    await fill();
    await works[0]!.fail(new Error('no database'));
    await expect(flight.untilRoom()).rejects.toThrow('no database');
    let over = false;
    const all = flight.untilNone().catch((error: Error) => ((over = true), error));
    await new Promise(setImmediate);
    expect(over).toBe(false);
    await works[1]!.end(true);
    expect(await all).toMatchObject({ message: 'no database' });
  });
});
