import { createHash } from 'node:crypto';

/** A tenant slug is a DNS label without underscores, unique over the fleet, immutable, never reused. */
export const SLUG = /^[a-z][a-z0-9-]{1,61}[a-z0-9]$/;

/** A readable slug made of a display name; the tail comes from the purchase, so two organisations of one name differ. */
export function makeSlug(displayName: string, purchaseId: string): string {
  const words = displayName
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '');
  const tail = createHash('sha256').update(purchaseId).digest('hex').slice(0, 8);
  return `${words.length >= 2 ? words : 'tenant'}-${tail}`;
}
