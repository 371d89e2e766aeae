import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, sha256Hex } from '#platform';
import { counter, gauge, hour, meterHour, segment } from '../testing/hours.js';
import { closeHour } from './close-hour.js';
import { digestOf, leafOf } from './leaf.js';
import { openingText, openingToJson } from './opening-json.js';
import { emptyOpening, type Opening, type StreamSamples } from './types.js';
import { instantText, US_PER_HOUR, US_PER_MINUTE } from './units.js';

const words = fc.oneof(fc.constantFrom('boot', '', 'ü"\\ \n', 'null'), fc.string({ maxLength: 12 }));
/** Streams, segments and windows have names of ours: a placement with an instant, an id, a date. Never what every object has. */
const names = words.map((w) => `n-${w}`);
const whole = fc.bigInt({ min: 0n, max: 2n ** 100n });
const aStream = fc.record({
  stream: names,
  from: fc.constant(hour(0)),
  until: fc.constant(null),
  baseline: fc.constant(null),
  samples: fc.array(
    fc.record({
      at: fc.integer({ min: 0, max: 70 }).map((n) => hour(1) + BigInt(n) * US_PER_MINUTE),
      value: whole,
      epoch: words,
      sequence: whole,
    }),
    { maxLength: 6 },
  ),
});
const anOpening: fc.Arbitrary<Opening> = fc.record({
  streams: fc.dictionary(names, fc.record({ at: whole, value: whole, epoch: words, sequence: whole })),
  segments: fc.dictionary(names, fc.record({ cumulative: whole, emitted: whole })),
  windows: fc.dictionary(names, fc.record({ consumed: whole, overage: whole })),
  capacityBytes: fc.option(whole),
});

/** As it was pinned: the canonical JSON of plain objects. */
function pinnedDigest(streams: StreamSamples[], start: bigint): string {
  const inputs = streams.map((s) => ({
    stream: s.stream,
    samples: s.samples.filter((x) => x.at < start + US_PER_HOUR).map((x) => [instantText(x.at), x.value, x.epoch, x.sequence]),
  }));
  return sha256Hex(canonicalJson(inputs));
}

describe('the leaf of a closing', () => {
  it('hashes the samples of the hour in their canonical form', () => {
    fc.assert(
      fc.property(fc.array(aStream, { maxLength: 3 }), (streams) => {
        expect(digestOf(streams, hour(1))).toEqual({
          digest: pinnedDigest(streams, hour(1)),
          count: streams.flatMap((s) => s.samples).filter((x) => x.at < hour(2)).length,
        });
      }),
    );
  });

  it('writes an opening as the canonical JSON of what is stored', () => {
    fc.assert(
      fc.property(anOpening, (o) => {
        expect(openingText(o)).toBe(canonicalJson(openingToJson(o)));
      }),
    );
  });

  it('is the hash of the canonical JSON of what the closing read and made', () => {
    fc.assert(
      fc.property(fc.array(aStream, { maxLength: 3 }), fc.constantFrom(gauge, counter), (streams, terms) => {
        const opening = emptyOpening();
        const meter = meterHour(1, { kind: terms.kind });
        const close = closeHour(meter, [segment({ terms: { ...terms, decimals: 3 } })], opening, streams, []);
        const c = { subscriptionId: 'a-purchase', meter: terms.meter, hour: hour(1), opening, inputs: digestOf(streams, hour(1)), close };
        const leaf = leafOf(c);
        expect(leaf.closing).toBe(canonicalJson(openingToJson(close.closing)));
        expect(leaf.hash).toBe(
          sha256Hex(
            canonicalJson({
              subscription: c.subscriptionId,
              meter: c.meter,
              hour: instantText(c.hour),
              inputs: pinnedDigest(streams, hour(1)),
              opening: openingToJson(opening),
              closing: openingToJson(close.closing),
              entries: close.entries,
              records: close.records,
              carryIns: close.carryIns,
            }),
          ),
        );
      }),
    );
  });

  it('is another one where a single sample is another', () => {
    const sample = { at: hour(1) + US_PER_MINUTE, value: 5n, epoch: 'boot', sequence: 1n };
    const stream = { stream: 'p', from: hour(0), until: null, baseline: null };
    const one = digestOf([{ ...stream, samples: [sample] }], hour(1)).digest;
    for (const other of [{ value: 6n }, { epoch: 'b' }, { sequence: 2n }, { at: sample.at + 1n }])
      expect(digestOf([{ ...stream, samples: [{ ...sample, ...other }] }], hour(1)).digest).not.toBe(one);
  });
});
