import type { ExportState } from '../domain/export-check.js';
import type { ExportRow } from '../infra/export-rows.js';

/** The last look or decision before data is deleted. */
export interface ExportView {
  readonly state: ExportState;
  /** As seen last; null: nobody could tell. */
  readonly storedBytes: string | null;
  readonly seenAt: Date | null;
  readonly reason: string;
  readonly by: string;
  readonly at: Date;
  /** Nothing is deleted before, whatever was decided. */
  readonly holdUntil: Date | null;
  /** It can be read until then. */
  readonly accessUntil: Date | null;
}

const dated = (text: string | null): Date | null => (text === null ? null : new Date(text));
export const exportView = (r: ExportRow): ExportView => ({
  state: r.state,
  storedBytes: r.stored_bytes,
  seenAt: dated(r.seen_at),
  reason: r.reason,
  by: r.decided_by,
  at: new Date(r.decided_at),
  holdUntil: dated(r.hold_until),
  accessUntil: dated(r.access_until),
});
