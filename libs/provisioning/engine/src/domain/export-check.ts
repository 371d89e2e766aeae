/** Whether the data of a placement whose access has ended may be deleted, as far as taking it along goes. */
export type ExportState = 'not_needed' | 'open' | 'confirmed' | 'waived';

/** What was seen at the place. `storedBytes` null: nobody could tell, and `why` says so; that is never taken for nothing. */
export interface DataLook {
  readonly storedBytes: bigint | null;
  readonly seenAt: Date | null;
  readonly why: string;
}

/** Nothing has to be taken along only where nothing was seen to be there, or nobody could ever have put it there. */
export function judgeLook(look: DataLook, everServed: boolean): { readonly state: 'not_needed' | 'open'; readonly reason: string } {
  if (!everServed) return { state: 'not_needed', reason: 'It never served: nobody could store anything.' };
  if (look.storedBytes === null) return { state: 'open', reason: `Nobody could tell whether data is there: ${look.why}` };
  if (look.storedBytes === 0n) return { state: 'not_needed', reason: 'Nothing is stored any more.' };
  return { state: 'open', reason: `${look.storedBytes} bytes are there.` };
}
