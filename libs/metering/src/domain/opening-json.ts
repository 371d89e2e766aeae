import { canonicalJson } from '#platform';
import { emptyOpening, type Opening } from './types.js';

type Json = {
  streams?: Record<string, { at: string; value: string; epoch: string; sequence: string }>;
  segments?: Record<string, { cumulative: string; emitted: string }>;
  windows?: Record<string, { consumed: string; overage: string }>;
  capacityBytes?: string | null;
};

/** An opening as it is stored: whole numbers as decimal text. */
export function openingToJson(o: Opening): Json {
  const map = <A, B>(from: Record<string, A>, f: (a: A) => B): Record<string, B> =>
    Object.fromEntries(
      Object.entries(from)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([k, v]) => [k, f(v)]),
    );
  return {
    streams: map(o.streams, (s) => ({ at: s.at.toString(), value: s.value.toString(), epoch: s.epoch, sequence: s.sequence.toString() })),
    segments: map(o.segments, (s) => ({ cumulative: s.cumulative.toString(), emitted: s.emitted.toString() })),
    windows: map(o.windows, (w) => ({ consumed: w.consumed.toString(), overage: w.overage.toString() })),
    capacityBytes: o.capacityBytes?.toString() ?? null,
  };
}

/** The canonical JSON of an opening, as `canonicalJson(openingToJson(opening))` writes it, without the objects between. */
export function openingText(o: Opening): string {
  const map = <A>(from: Record<string, A>, write: (a: A) => string): string => {
    let text = '';
    for (const key of Object.keys(from).sort()) text += `${text === '' ? '' : ','}${canonicalJson(key)}:${write(from[key]!)}`;
    return `{${text}}`;
  };
  const segments = map(o.segments, (s) => `{"cumulative":"${s.cumulative}","emitted":"${s.emitted}"}`);
  const streams = map(
    o.streams,
    (s) => `{"at":"${s.at}","epoch":${canonicalJson(s.epoch)},"sequence":"${s.sequence}","value":"${s.value}"}`,
  );
  const windows = map(o.windows, (w) => `{"consumed":"${w.consumed}","overage":"${w.overage}"}`);
  return `{"capacityBytes":${o.capacityBytes === null ? 'null' : `"${o.capacityBytes}"`},"segments":${segments},"streams":${streams},"windows":${windows}}`;
}

export function openingFromJson(json: unknown): Opening {
  const j = (json ?? {}) as Json;
  const o = emptyOpening();
  for (const [k, s] of Object.entries(j.streams ?? {}))
    o.streams[k] = { at: BigInt(s.at), value: BigInt(s.value), epoch: s.epoch, sequence: BigInt(s.sequence) };
  for (const [k, s] of Object.entries(j.segments ?? {})) o.segments[k] = { cumulative: BigInt(s.cumulative), emitted: BigInt(s.emitted) };
  for (const [k, w] of Object.entries(j.windows ?? {})) o.windows[k] = { consumed: BigInt(w.consumed), overage: BigInt(w.overage) };
  o.capacityBytes = j.capacityBytes == null ? null : BigInt(j.capacityBytes);
  return o;
}
