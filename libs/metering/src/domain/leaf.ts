import { canonicalJson, sha256Hex } from '#platform';
import { openingText } from './opening-json.js';
import { sumTerms } from './sum-terms.js';
import type { HourClose, Opening, StreamSamples } from './types.js';
import { instantText, US_PER_HOUR } from './units.js';

/** What a closing read, as it is hashed: whoever looks back can tell whether it holds the same samples. */
export function digestOf(streams: StreamSamples[], hour: bigint): { digest: string; count: number } {
  const end = hour + US_PER_HOUR;
  let count = 0;
  let text = '';
  for (const s of streams) {
    let samples = '';
    for (const x of s.samples) {
      if (x.at >= end) continue;
      count += 1;
      samples += `${samples === '' ? '' : ','}["${instantText(x.at)}","${x.value}",${canonicalJson(x.epoch)},"${x.sequence}"]`;
    }
    text += `${text === '' ? '' : ','}{"samples":[${samples}],"stream":${canonicalJson(s.stream)}}`;
  }
  return { digest: sha256Hex(`[${text}]`), count };
}

export interface Closing {
  subscriptionId: string;
  meter: string;
  hour: bigint;
  opening: Opening;
  streams: StreamSamples[];
  close: HourClose;
}

export interface Leaf {
  hash: string;
  digest: string;
  inputs: number;
  /** The terms' sums by name. */
  terms: Record<string, string>;
  /** The next opening as canonical JSON. */
  closing: string;
}

/**
 * The leaf of a closing in its hour's Merkle tree: the hash of the canonical JSON of what it read and made. Natural keys and
 * quantities only, never surrogate ids (law 12). The text is put together here, part by part, since it is made for each series
 * of each hour; `leaf.spec` holds it to `canonicalJson` of the whole.
 */
export function leafOf(c: Closing): Leaf {
  const { digest, count } = digestOf(c.streams, c.hour);
  const closing = openingText(c.close.closing);
  const hash = sha256Hex(
    `{"carryIns":${canonicalJson(c.close.carryIns)},"closing":${closing},"entries":${canonicalJson(c.close.entries)},"hour":"${instantText(c.hour)}"` +
      `,"inputs":"${digest}","meter":${canonicalJson(c.meter)},"opening":${openingText(c.opening)},"records":${canonicalJson(c.close.records)}` +
      `,"subscription":${canonicalJson(c.subscriptionId)}}`,
  );
  const terms: Record<string, string> = {};
  for (const [term, sum] of Object.entries(sumTerms(c.close.entries))) terms[term] = sum.toString();
  return { hash, digest, inputs: count, terms, closing };
}
