import { describe, expect, it } from 'vitest';
import { Grouped } from './grouped.js';

const settled = (all: Promise<unknown>[]): Promise<string[]> =>
  Promise.all(
    all.map((one) =>
      one.then(
        (value) => String(value),
        (error: Error & { code?: string }) => error.code ?? error.message,
      ),
    ),
  );

describe('a shared commit', () => {
  const make = (bounds = { groups: 1, perGroup: 3, waiting: 100 }) => {
    const groups: number[][] = [];
    const singles: number[] = [];
    const gates: (() => void)[] = [];
    const grouped = new Grouped<number, number>(
      async (items) => {
        groups.push([...items]);
        await new Promise<void>((open) => gates.push(open));
        if (items.some((i) => i < 0)) throw new Error('the group');
        return items.map((i) => i * 10);
      },
      async (item) => {
        singles.push(item);
        if (item < 0) throw new Error(`alone ${item}`);
        return item * 10;
      },
      bounds,
    );
    const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
    return { grouped, groups, singles, gates, turn };
  };

  it('takes together who comes together, up to its size, and gives each its own result', async () => {
    const { grouped, groups, gates, turn } = make();
    const all = [1, 2, 3, 4, 5].map((i) => grouped.run(i));
    await turn();
    expect(groups).toEqual([[1, 2, 3]]);
    gates[0]!();
    expect(await settled(all.slice(0, 3))).toEqual(['10', '20', '30']);
    await turn();
    gates[1]!();
    expect(await settled(all)).toEqual(['10', '20', '30', '40', '50']);
    expect(groups).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
  });

  it('answers nobody before its group has committed', async () => {
    const { grouped, gates, turn } = make();
    let answered = 0;
    const all = [1, 2].map((i) => grouped.run(i).then(() => (answered += 1)));
    await turn();
    await turn();
    expect(answered).toBe(0);
    gates[0]!();
    await Promise.all(all);
    expect(answered).toBe(2);
  });

  it('tries each alone when a group fails: one bad item refuses no other', async () => {
    const { grouped, gates, singles, turn } = make();
    const all = [1, -2, 3].map((i) => grouped.run(i));
    await turn();
    gates[0]!();
    expect(await settled(all)).toEqual(['10', 'alone -2', '30']);
    expect(singles).toEqual([1, -2, 3]);
  });

  it('does not run a small group beside another until as much waits as is under way', async () => {
    const { grouped, groups, gates, turn } = make({ groups: 2, perGroup: 3, waiting: 100, beside: 100 } as never);
    const all = [1, 2].map((i) => grouped.run(i));
    await turn();
    all.push(grouped.run(3));
    await turn();
    expect(groups).toEqual([[1, 2]]);
    all.push(grouped.run(4));
    await turn();
    expect(groups).toEqual([
      [1, 2],
      [3, 4],
    ]);
    // No third one, whatever waits.
    all.push(...[5, 6].map((i) => grouped.run(i)));
    await turn();
    expect(groups).toHaveLength(2);
    for (const open of gates) open();
    await expect.poll(() => groups.length).toBe(3);
    gates[2]!();
    expect(await settled(all)).toEqual(['10', '20', '30', '40', '50', '60']);
    // What has ended weighs nothing any more.
    const later = [7, 8, 9].map((i) => grouped.run(i));
    await expect.poll(() => groups.at(-1)).toEqual([7, 8, 9]);
    gates[3]!();
    expect(await settled(later)).toEqual(['70', '80', '90']);
  });

  it('or until both have a weight at which they may', async () => {
    const { grouped, groups, gates, turn } = make({ groups: 2, perGroup: 3, waiting: 100, beside: 5 } as never);
    const all = [1, 2, 3].map((i) => grouped.run(i));
    await turn();
    all.push(grouped.run(4));
    await turn();
    expect(groups).toHaveLength(1);
    all.push(grouped.run(5));
    await turn();
    expect(groups.at(-1)).toEqual([4, 5]);
    for (const open of gates) open();
    expect(await settled(all)).toEqual(['10', '20', '30', '40', '50']);
  });

  it('has the next group on its way before this one is told', async () => {
    const { grouped, groups, gates, turn } = make({ groups: 1, perGroup: 2, waiting: 100 } as never);
    const started: number[] = [];
    const all = [1, 2].map((i) => grouped.run(i).then((r) => (started.push(groups.length), r)));
    await turn();
    all.push(...[3, 4].map((i) => grouped.run(i)));
    gates[0]!();
    await Promise.all(all.slice(0, 2));
    expect(started).toEqual([2, 2]);
    gates[1]!();
    expect(await settled(all)).toEqual(['10', '20', '30', '40']);
  });

  it('tells a small group before the next one begins: who sends again at once comes along', async () => {
    const { grouped, groups, gates, turn } = make({ groups: 1, perGroup: 10, waiting: 100, beside: 100 } as never);
    const again: Promise<number>[] = [];
    const all = [
      grouped.run(1).then((result) => (again.push(grouped.run(4)), result)),
      grouped.run(2).then((result) => turn().then(() => (again.push(grouped.run(5)), result))),
    ];
    await turn();
    all.push(grouped.run(3));
    await turn();
    gates[0]!();
    expect(await settled(all.slice(0, 2))).toEqual(['10', '20']);
    await turn();
    expect(groups).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    gates[1]!();
    expect(await settled([...all, ...again])).toEqual(['10', '20', '30', '40', '50']);
  });

  it('lets one that is alone wait for nobody', async () => {
    const { grouped, groups, singles } = make();
    expect(await grouped.run(7)).toBe(70);
    expect([groups, singles]).toEqual([[], [7]]);
  });

  it('refuses with 503 when too many wait, and goes on afterwards', async () => {
    const { grouped, gates, turn } = make({ groups: 1, perGroup: 2, waiting: 2 });
    const first = [1, 2].map((i) => grouped.run(i));
    await turn();
    const later = [3, 4, 5].map((i) => grouped.run(i));
    expect(await settled([later[2]!])).toEqual(['request.overloaded']);
    gates[0]!();
    await turn();
    await turn();
    gates[1]!();
    expect(await settled([...first, later[0]!, later[1]!])).toEqual(['10', '20', '30', '40']);
  });

  it('weighs: a group holds so much, what is heavier goes alone, and so much may wait', async () => {
    const groups: number[][] = [];
    const gates: (() => void)[] = [];
    const grouped = new Grouped<number, number>(
      async (items) => {
        groups.push([...items]);
        await new Promise<void>((open) => gates.push(open));
        return [...items];
      },
      async (item) => {
        groups.push([item]);
        return item;
      },
      { groups: 1, perGroup: 10, waiting: 30, weigh: (i) => i },
    );
    const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
    const all = [4, 4, 4, 15].map((i) => grouped.run(i));
    expect(await settled([grouped.run(8)])).toEqual(['request.overloaded']);
    all.push(grouped.run(3));
    await turn();
    gates[0]!();
    expect(await settled(all)).toEqual(['4', '4', '4', '15', '3']);
    expect(groups).toEqual([[4, 4], [4], [15], [3]]);
    // Larger than all that may wait, but nobody waits.
    expect(await settled([grouped.run(40)])).toEqual(['40']);
  });

  it('takes from each in turn, and refuses the one that fills the queue while others still get in', async () => {
    const groups: string[][] = [];
    const gates: (() => void)[] = [];
    const grouped = new Grouped<string, string>(
      async (items) => {
        groups.push([...items]);
        await new Promise<void>((open) => gates.push(open));
        return [...items];
      },
      async (item) => item,
      { groups: 1, perGroup: 3, waiting: 8, of: (i) => i[0]!, each: 5 },
    );
    const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
    const all = ['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'c1'].map((i) => grouped.run(i));
    expect(await settled([grouped.run('a6')])).toEqual(['request.too_many_waiting']);
    await turn();
    expect(groups).toEqual([['a1', 'b1', 'c1']]);
    gates[0]!();
    await turn();
    await turn();
    expect(groups[1]).toEqual(['a2', 'a3', 'a4']);
    gates[1]!();
    expect(await settled(all)).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'c1']);
  });
});
