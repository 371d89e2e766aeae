import { createHash } from 'node:crypto';
import { fieldsOf, instantOf, isFields, jsonOf, lastSegment, textOf } from './liberal.js';

/** What a notification may be relied on for: whom it is about. All else is read back (contract gcp §3). */
export interface Notification {
  eventId: string | null;
  /** The documented account sample has none. */
  eventType: string | null;
  providerId: string | null;
  about: { kind: 'entitlement' | 'account'; id: string } | null;
  updatedAt: Date | null;
  /** Of ENTITLEMENT_OFFER_ACCEPTED: when the accepted offer starts. */
  startsAt: Date | null;
}

/** Null where the text is no JSON object. */
export function notificationOf(text: string): Notification | null {
  const body = jsonOf(text);
  if (!isFields(body)) return null;
  const entitlement = fieldsOf(body['entitlement']);
  const account = fieldsOf(body['account']);
  const entitlementId = lastSegment(entitlement['id']);
  const accountId = lastSegment(account['id']);
  return {
    eventId: textOf(body['eventId']),
    eventType: textOf(body['eventType']),
    providerId: textOf(body['providerId']),
    about: entitlementId ? { kind: 'entitlement', id: entitlementId } : accountId ? { kind: 'account', id: accountId } : null,
    updatedAt: instantOf(entitlement['updateTime']) ?? instantOf(account['updateTime']),
    startsAt: textOf(body['eventType']) === 'ENTITLEMENT_OFFER_ACCEPTED' ? instantOf(entitlement['newOfferStartTime']) : null,
  };
}

/** The inbox holds a key in an index, whose entries have a limit: a message with a longer one could never be stored. */
const MAX_KEY = 512;

const hashKey = (data: Uint8Array): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

/** One purchase may send three events under one `eventId`, so the type is part of the key (contract gcp §3, delivery). */
export function naturalKeyOf(told: Notification | null, data: Uint8Array): string {
  if (!told?.eventId || !told.providerId || !told.about) return hashKey(data);
  const key = `${told.providerId}|${told.eventType ?? told.about.kind}|${told.eventId}`;
  return key.length > MAX_KEY ? hashKey(data) : key;
}

/** The text as it came. Bytes that no database text can hold are kept as base64, so that nothing is ever lost. */
export function bodyTextOf(data: Uint8Array): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    if (!text.includes('\0')) return text;
  } catch {
    // Kept below.
  }
  return JSON.stringify({ undecodable: Buffer.from(data).toString('base64') });
}
