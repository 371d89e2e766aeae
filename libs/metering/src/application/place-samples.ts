import { refusedTime, type Rejection, type SampleEvent } from '../domain/usage-event.js';
import type { Binding, UsagePrincipal } from './intake-types.js';

/**
 * The binding that a sample belongs to, or why it is not the poster's to report. `bindings`: the placement's, in order of time.
 * `tooOld` names whose loss it is.
 */
export function placeSample(
  principal: UsagePrincipal,
  event: SampleEvent,
  bindings: readonly Binding[] | undefined,
  now: bigint,
): Binding | { refused: Rejection; tooOld?: Binding } {
  if (!bindings) return { refused: { code: 'usage.unknown_placement', detail: 'no usage is bound to this placement' } };
  let own: Binding | undefined;
  let fit: Binding | undefined;
  for (const b of bindings) {
    if (b.source !== event.source || (principal.kind === 'tenant' && b.tenantId !== principal.tenantId)) continue;
    own ??= b;
    // Where one binding ends and the next begins: a counter closes the old one, a gauge or an amount opens the new one.
    if (b.from <= event.at && (b.until === null || event.at <= b.until) && (!fit || event.kind !== 'counter')) fit = b;
  }
  if (!own)
    return {
      refused: {
        code: principal.kind === 'operator' ? 'usage.foreign_source' : 'usage.foreign_placement',
        detail: 'this placement reports through another source or belongs to another tenant',
      },
    };
  const refused = refusedTime(event.at, now);
  if (refused) return refused.code === 'usage.too_old' ? { refused, tooOld: fit ?? own } : { refused };
  return fit ?? { refused: { code: 'usage.unknown_placement', detail: 'the placement served no subscription at that time' } };
}
