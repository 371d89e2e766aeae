/** The data plane's version. 3.36 wants Node 21, 3.37 Node 22 (contract provisioning §4.6). */
export const AZURITE_VERSION = '3.35.0';

/** What a cell runs, as data: one Azurite, and the settings of the cell around it. */
export interface CellRelease {
  readonly version: string;
  /** Real milliseconds after a write until Azurite's metadata is saved: what a SIGKILL can lose. */
  readonly saveAfterMs: number;
}

/** Oldest first. New cells get the first one; the later ones come by upgrade. */
export const RELEASES: readonly [CellRelease, ...CellRelease[]] = [
  { version: AZURITE_VERSION, saveAfterMs: 500 },
  { version: `${AZURITE_VERSION}-2`, saveAfterMs: 100 },
];

/** Null, and what is not known any more, is the first: cells of before releases had names run that. */
export const releaseOf = (version: string | null | undefined): CellRelease => RELEASES.find((r) => r.version === version) ?? RELEASES[0];
