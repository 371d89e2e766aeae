import { arrayText, type Tx } from '#platform';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { us } from './us.js';

/** Names that posters choose may say anything: outside their table they are hashes. Our own source keeps its name. */
export const hiddenSource = (column: string): string =>
  `case when ${column} = '${ENGINE_SOURCE}' then ${column} else 'src_' || left(encode(sha256(convert_to(${column}, 'UTF8')), 'hex'), 24) end`;

/** A stretch of time in which a placement's samples are usage of a purchase. Instants are microseconds as text. */
export interface PurchaseBinding {
  placementId: string;
  source: string;
  /** Its source as it may be told. */
  hidden: string;
  from: string;
  until: string | null;
  held: string | null;
}
export type BindingsOf = ReadonlyMap<string, readonly PurchaseBinding[]>;

/** Of each purchase by placement, then by time: read once by a closing, which notes them and finds its samples by them. */
export async function readPurchaseBindings(tx: Tx, subscriptionIds: Iterable<string>): Promise<BindingsOf> {
  const rows = await tx.query<PurchaseBinding & { subscription_id: string }>(
    `select subscription_id, placement_id as "placementId", source, ${hiddenSource('source')} as hidden, ${us('valid_from')} as "from", ${us('valid_until')} as until,
            ${us('held_from')} as held
       from usage_bindings where subscription_id = any($1::uuid[]) order by placement_id, valid_from`,
    [arrayText(subscriptionIds)],
  );
  const bound = new Map<string, PurchaseBinding[]>();
  for (const b of rows) {
    const known = bound.get(b.subscription_id);
    if (known) known.push(b);
    else bound.set(b.subscription_id, [b]);
  }
  return bound;
}
