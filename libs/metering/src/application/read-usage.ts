import { canonicalJson, sha256Hex } from '#platform';
import { parseUsageEvent, type Rejection, type WatermarkEvent } from '../domain/usage-event.js';
import { addNumber, type NumberRun } from '../domain/watermarks.js';
import type { SampleRow } from '../infra/store-samples.js';
import { ownSource, posterOf, type Binding, type IngestResult, type UsagePrincipal } from './intake-types.js';

/** A sample of a request. Where it belongs is written by each try to store it. */
export interface PostedSample extends SampleRow {
  index: number;
  /** The place of its request among those that are stored together. */
  request: number;
}

/** One request, read: what is not refused by itself. Its results are made anew by each try. */
export interface Reading {
  principal: UsagePrincipal;
  poster: string;
  size: number;
  refused: IngestResult[];
  samples: PostedSample[];
  watermarks: { index: number; event: WatermarkEvent }[];
  /** Of its own source's events, also of refused ones: each gets an answer with this commit. */
  numbers: Map<string, NumberRun[]>;
}

/** Reads each event by itself, without a look at the database. */
export function readUsage(principal: UsagePrincipal, raw: readonly unknown[]): Reading {
  const poster = posterOf(principal);
  const reading: Reading = { principal, poster, size: raw.length, refused: [], samples: [], watermarks: [], numbers: new Map() };
  const mine = ownSource(principal);
  for (let index = 0; index < raw.length; index++) {
    const parsed = parseUsageEvent(raw[index]);
    if (!parsed.ok) {
      const { numbered } = parsed;
      if (numbered && (mine === null || numbered.source === mine)) note(reading, numbered.source, numbered.number);
      reading.refused.push(rejected(index, parsed.id, parsed));
      continue;
    }
    const { event } = parsed;
    if (mine !== null && event.source !== mine) {
      reading.refused.push(rejected(index, event.id, FOREIGN_SOURCE));
      continue;
    }
    note(reading, event.source, event.sequence);
    if (event.type === 'watermark') reading.watermarks.push({ index, event });
    else
      // Over all that was sent, also fields that we do not know: the same id with anything else in it is another event.
      reading.samples.push({
        index,
        request: 0,
        poster,
        event,
        hash: sha256Hex(canonicalJson(raw[index])),
        binding: NOT_PLACED,
      });
  }
  return reading;
}

/** Until the sample is placed. */
const NOT_PLACED: Binding = { placementId: '', tenantId: '', subscriptionId: '', source: '', from: 0n, until: 0n };
const FOREIGN_SOURCE: Rejection = { code: 'usage.foreign_source', detail: 'this key does not speak for that source' };

function note({ numbers }: Reading, source: string, number: bigint): void {
  let runs = numbers.get(source);
  if (!runs) numbers.set(source, (runs = []));
  addNumber(runs, number);
}

/** The answer to an event that is refused. */
export const rejected = (index: number, id: string, { code, detail }: Rejection): IngestResult => ({
  index,
  id,
  outcome: 'rejected',
  code,
  detail,
});
