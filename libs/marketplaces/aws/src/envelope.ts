import { fieldsOf, type Fields, instantTextOf, isFields, licenceIdOf, textOf } from './liberal.js';

/** The parts of an EventBridge event that are of use (contract aws §4.1). */
export interface Envelope {
  id: string;
  source: string;
  /** Without the role: which one comes depends on who proposed the offer, and both mean the same. */
  eventName: string;
  detailType: string;
  /** As what the account was told; null where the type does not say. */
  role: 'proposer' | 'manufacturer' | null;
  /** The account that the event was sent to: the seller's own. */
  account: string | null;
  /** UTC text with milliseconds; null where it is missing or no time. */
  at: string | null;
  detail: Fields;
  licenseId: string | null;
  agreementId: string | null;
}

const ROLE = /\s+-\s+(Proposer|Manufacturer)$/i;

export function envelopeOf(body: string): Envelope | null {
  let raw: unknown;
  try {
    raw = JSON.parse(body);
  } catch {
    return null;
  }
  if (!isFields(raw)) return null;
  const [id, source, detailType] = [textOf(raw['id']), textOf(raw['source']), textOf(raw['detail-type'])];
  if (!id || !source || !detailType) return null;
  const detail = fieldsOf(raw['detail']);
  return {
    id,
    source,
    detailType,
    eventName: detailType.replace(ROLE, ''),
    role: (ROLE.exec(detailType)?.[1]?.toLowerCase() as Envelope['role'] | undefined) ?? null,
    account: textOf(raw['account']),
    at: instantTextOf(raw['time']),
    detail,
    licenseId: licenceIdOf(fieldsOf(detail['license'])['arn']),
    agreementId: textOf(fieldsOf(detail['agreement'])['id']),
  };
}
