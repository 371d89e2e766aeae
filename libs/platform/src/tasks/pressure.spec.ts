import { describe, expect, it } from 'vitest';
import { Pressure } from './pressure.js';

describe('the pressure of senders who wait', () => {
  const make = (): { pressure: Pressure; pass: (ms: number) => void; send: (count: number) => Promise<void> } => {
    let now = 0;
    const pressure = new Pressure(() => now);
    return {
      pressure,
      pass: (ms) => void (now += ms),
      send: async (count) => {
        for (let i = 0; i < count; i += 1) await pressure.around(() => Promise.resolve());
      },
    };
  };

  it('does not hold the worker back while there is little', async () => {
    const { pressure, pass, send } = make();
    await send(7);
    expect(pressure.allow(6, 0)).toEqual({ hands: 6, againMs: null });
    pass(200);
    await send(7);
    expect(pressure.allow(6, 3)).toEqual({ hands: 6, againMs: null });
  });

  it('leaves one task at a time and some five a second in a burst, and all at once after it', async () => {
    const { pressure, pass, send } = make();
    await send(8);
    expect(pressure.allow(6, 0).hands).toBe(1);
    expect(pressure.allow(6, 0)).toEqual({ hands: 0, againMs: 200 });
    pass(200);
    await send(8);
    expect(pressure.allow(6, 1)).toEqual({ hands: 0, againMs: 10 });
    expect(pressure.allow(6, 0).hands).toBe(1);
    pass(101);
    expect(pressure.allow(6, 0)).toEqual({ hands: 6, againMs: null });
  });

  it('leaves the fewer tasks the longer a burst lasts, and begins anew with the next one', async () => {
    const { pressure, pass, send } = make();
    const begun = async (forMs: number): Promise<number[]> => {
      const at: number[] = [];
      for (let ms = 0; ms < forMs; ms += 20) {
        await send(8);
        if (pressure.allow(6, 0).hands > 0) at.push(ms);
        pass(20);
      }
      return at;
    };
    expect(await begun(5_000)).toEqual([0, 200, 400, 800, 1_600, 2_600, 3_600, 4_600]);
    pass(2_000);
    expect(await begun(700)).toEqual([0, 200, 400]);
  });

  it('counts those who wait at once, however slowly they came', async () => {
    const { pressure, pass } = make();
    const ends: (() => void)[] = [];
    for (let i = 0; i < 4; i += 1) {
      void pressure.around(() => new Promise<void>((resolve) => ends.push(resolve)));
      pass(1_000);
    }
    expect(pressure.allow(6, 0).hands).toBe(1);
    ends.forEach((end) => end());
    await new Promise((resolve) => setImmediate(resolve));
    expect(pressure.allow(6, 0).hands).toBe(6);
  });

  it('holds the worker back for thirty seconds at most, then not again before it has been calm', async () => {
    const { pressure, pass, send } = make();
    for (let ms = 0; ms < 30_000; ms += 50) {
      await send(8);
      expect(pressure.allow(6, 1).hands).toBe(0);
      pass(50);
    }
    await send(8);
    expect(pressure.allow(6, 1).hands).toBe(6);
    pass(900);
    await send(8);
    expect(pressure.allow(6, 1).hands).toBe(6);
    pass(1_100);
    await send(8);
    expect(pressure.allow(6, 1).hands).toBe(0);
  });
});
