/** A rule that is new or stricter raises the version: runs of an older one open no gate any more. */
export const AZCOPY_SUITE = { name: 'azcopy', version: '1' } as const;
