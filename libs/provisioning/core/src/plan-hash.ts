import { createHash } from 'node:crypto';

/** Canonical JSON: sorted keys, so that equal things hash alike. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    v !== null && typeof v === 'object' && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : v,
  );
}

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The hash an approval binds to. */
export function planHash(artefact: string, stateSerial: number): string {
  return sha256Hex(`${stateSerial}\n${artefact}`);
}
