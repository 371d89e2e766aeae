import { canonicalJson, sha256Hex } from '#platform';
import { openingText } from './opening-json.js';
import { LEDGER_TERMS, sumTerms } from './sum-terms.js';
import type { HourClose, Opening, StreamSamples } from './types.js';
import { instantText, US_PER_HOUR } from './units.js';

/** The hash of the samples that a closing read, and how many they are. */
export interface Inputs {
  digest: string;
  count: number;
}

/** What a closing read, as it is hashed: whoever looks back can tell whether it holds the same samples. */
export function digestOf(streams: StreamSamples[], hour: bigint): Inputs {
  const end = hour + US_PER_HOUR;
  let count = 0;
  let text = '';
  // Samples of one source mostly are of one epoch.
  let epoch = '';
  let epochText = '""';
  for (const s of streams) {
    let samples = '';
    for (const x of s.samples) {
      if (x.at >= end) continue;
      count += 1;
      if (x.epoch !== epoch) epochText = canonicalJson((epoch = x.epoch));
      samples += `${samples === '' ? '' : ','}["${instantText(x.at)}","${x.value}",${epochText},"${x.sequence}"]`;
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
  inputs: Inputs;
  close: HourClose;
}

export interface Leaf {
  hash: string;
  /** The terms' sums by name, as JSON. */
  terms: string;
  /** The next opening as canonical JSON. */
  closing: string;
}

/**
 * The leaf of a closing in its hour's Merkle tree: the hash of the canonical JSON of what it read and made. Natural keys and
 * quantities only, never surrogate ids (law 12). The text is put together here, part by part, since it is made for each series
 * of each hour; `leaf.spec` holds it to `canonicalJson` of the whole.
 */
export function leafOf(c: Closing): Leaf {
  const closing = openingText(c.close.closing);
  const hash = sha256Hex(
    `{"carryIns":${canonicalJson(c.close.carryIns)},"closing":${closing},"entries":${canonicalJson(c.close.entries)},"hour":"${instantText(c.hour)}"` +
      `,"inputs":"${c.inputs.digest}","meter":${canonicalJson(c.meter)},"opening":${openingText(c.opening)},"records":${canonicalJson(c.close.records)}` +
      `,"subscription":${canonicalJson(c.subscriptionId)}}`,
  );
  const sums = sumTerms(c.close.entries);
  const terms = LEDGER_TERMS.map((term) => `"${term}":"${sums[term]}"`).join(',');
  return { hash, terms: `{${terms}}`, closing };
}
