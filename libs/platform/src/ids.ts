import { hash, randomFillSync } from 'node:crypto';
import { realNow } from './clock.js';
import { ProblemError } from './problem.js';

const format = (b: Buffer): string => {
  const h = b.toString('hex');
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
};

/** Random bytes are drawn for many ids at once: each drawing has a price of its own, and a webhook needs two ids. */
const pool = Buffer.alloc(4_096);
let used = pool.length;

/** A time-ordered uuid (version 7) made in the app; its timestamp is real time and carries no business meaning. */
export function uuidv7(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const b = pool.subarray(used, (used += 16));
  b.writeUIntBE(realNow().getTime(), 0, 6);
  b[6] = (b[6]! & 0x0f) | 0x70;
  b[8] = (b[8]! & 0x3f) | 0x80;
  return format(b);
}

/** Names are written behind the namespace; a longer one gets a place of its own. */
const named = Buffer.alloc(4_096);
const NAMESPACE_BYTES = named.write('7d1c5f6e2b6b4f0a9a3e0c4b8f21d9aa', 'hex');

/** A name-based uuid (version 5): the same parts always give the same id, so racing creators become an upsert. */
export function uuidv5(...parts: string[]): string {
  const name = parts.join('\u0000');
  const room = NAMESPACE_BYTES + 3 * name.length;
  const bytes = room <= named.length ? named : Buffer.concat([named.subarray(0, NAMESPACE_BYTES)], room);
  const h = hash('sha1', bytes.subarray(0, NAMESPACE_BYTES + bytes.write(name, NAMESPACE_BYTES)), 'hex');
  const variant = ((parseInt(h[16]!, 16) & 0x3) | 0x8).toString(16);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-5${h.slice(13, 16)}-${variant}${h.slice(17, 20)}-${h.slice(20, 32)}`;
}

/**
 * Two ids of one name that begin with the instant they belong to (version 8, RFC 9562: 48 bits of Unix milliseconds `at`, then 74 bits of
 * the name's SHA-256 each): always the same, as version 5 is, and rows of one hour lie side by side in an index.
 */
export function timedIds(at: number, ...parts: string[]): [string, string] {
  const time = at.toString(16).padStart(12, '0');
  const h = hash('sha256', `${time}\u0000${parts.join('\u0000')}`, 'hex');
  const from = (i: number): string => {
    const variant = ((parseInt(h[i + 3]!, 16) & 0x3) | 0x8).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-8${h.slice(i, i + 3)}-${variant}${h.slice(i + 4, i + 7)}-${h.slice(i + 7, i + 19)}`;
  };
  return [from(0), from(32)];
}

/** Prefixes of ids at the API's edge. Inside the house ids are bare uuids. */
export type IdPrefix =
  | 'sub'
  | 'clm'
  | 'ten'
  | 'ent'
  | 'quo'
  | 'clu'
  | 'pla'
  | 'op'
  | 'rec'
  | 'itm'
  | 'fin'
  | 'inb'
  | 'rcn'
  | 'key'
  | 'seg'
  | 'att'
  | 'dri'
  | 'tsk'
  | 'cal'
  | 'fev'
  | 'chg'
  | 'pch'
  | 'ntc'
  | 'pjn'
  | 'crd'
  | 'prc'
  | 'rem'
  | 'urp'
  | 'cfr'
  | 'mst';

export const toPublicId = (prefix: IdPrefix, id: string): string => `${prefix}_${id}`;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
export const isUuid = (text: string): boolean => UUID.test(text);

/** The uuid of a public id such as `sub_…`; throws `id.malformed` (404 kind: an id nobody issued names nothing). */
export function fromPublicId(prefix: IdPrefix, text: string): string {
  const bare = text.startsWith(`${prefix}_`) ? text.slice(prefix.length + 1) : '';
  if (!isUuid(bare))
    throw new ProblemError('not_found', 'id.malformed', `"${text.slice(0, 80)}" is not an id of the form ${prefix}_<uuid>`);
  return bare;
}
