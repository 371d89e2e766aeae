/** Access ends. ARCHIVED, ROLLED_BACK and what is not known yet are only noted: License Deprovisioned decides (contract aws §4.1). */
export const TERMINAL: ReadonlySet<string> = new Set(['CANCELLED', 'EXPIRED', 'TERMINATED']);
/** The agreement goes on under another id; nothing is torn down (contract aws §0.5). */
export const SUPERSEDED: ReadonlySet<string> = new Set(['RENEWED', 'REPLACED', 'SUPERSEDED']);
