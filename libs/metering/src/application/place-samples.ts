import { refusedTime, type Rejection, type SampleEvent } from '../domain/usage-event.js';
import type { Binding, UsagePrincipal } from './intake-types.js';

/** The bindings of placements, each one's in order of time. */
export class Bindings {
  private readonly byPlacement = new Map<string, Binding[]>();

  constructor(rows: readonly Binding[]) {
    for (const b of rows) {
      const known = this.byPlacement.get(b.placementId);
      if (known) known.push(b);
      else this.byPlacement.set(b.placementId, [b]);
    }
  }

  /** Where a sample belongs, or why it is not the poster's to report. `tooOld` names whose loss it is. */
  place(principal: UsagePrincipal, event: SampleEvent, now: bigint): { binding: Binding } | { refused: Rejection; tooOld?: Binding } {
    const bindings = this.byPlacement.get(event.placementId);
    if (!bindings) return { refused: { code: 'usage.unknown_placement', detail: 'no usage is bound to this placement' } };
    const own = bindings.filter((b) => b.source === event.source && (principal.kind !== 'tenant' || b.tenantId === principal.tenantId));
    if (own.length === 0)
      return {
        refused: {
          code: principal.kind === 'operator' ? 'usage.foreign_source' : 'usage.foreign_placement',
          detail: 'this placement reports through another source or belongs to another tenant',
        },
      };
    const fit = own.filter((b) => b.from <= event.at && (b.until === null || event.at <= b.until));
    const refused = refusedTime(event.at, now);
    if (refused) return refused.code === 'usage.too_old' ? { refused, tooOld: fit[0] ?? own[0]! } : { refused };
    if (fit.length === 0)
      return { refused: { code: 'usage.unknown_placement', detail: 'the placement served no subscription at that time' } };
    // Where one binding ends and the next begins: a counter closes the old one, a gauge opens the new one.
    return { binding: event.kind === 'counter' ? fit[0]! : fit.at(-1)! };
  }
}
