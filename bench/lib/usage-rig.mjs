// What bench/usage.mjs posts, and how it counts what a process costs.
import { randomUUID } from 'node:crypto';

export const SOURCE = '/imports/bench';
const METRICS = [
  ['stored_bytes', 'gauge'],
  ['egress_bytes', 'counter'],
  ['ingress_bytes', 'counter'],
  ['requests', 'counter'],
];

/** Endless: samples of these placements, as a cell makes them. */
export function sample(placements) {
  let count = 0;
  const run = randomUUID().slice(0, 8);
  return () => {
    const i = count++;
    const [metric, kind] = METRICS[i % METRICS.length];
    return {
      specversion: '1.0',
      id: `bench.${run}.${i}`,
      source: SOURCE,
      type: 'berth.sample.v1',
      time: new Date().toISOString(),
      subject: placements[(i >> 2) % placements.length],
      sequence: String(i + 1),
      datacontenttype: 'application/json',
      data: { metric, kind, value: String(1_000_000 + i), epoch: run },
    };
  };
}
