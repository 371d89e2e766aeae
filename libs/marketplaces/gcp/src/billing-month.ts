const HOUR = 3_600_000;
/** Google's invoices go by US Pacific months (contract gcp §4, deadlines). */
const ZONE = 'America/Los_Angeles';
const PARTS = new Intl.DateTimeFormat('en-CA', {
  timeZone: ZONE,
  hourCycle: 'h23',
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

interface Wall {
  year: number;
  month: number;
  asUtcMs: number;
}

function wallOf(at: Date): Wall {
  const part = Object.fromEntries(PARTS.formatToParts(at).map((p) => [p.type, Number(p.value)])) as Record<string, number>;
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = part;
  return { year, month, asUtcMs: Date.UTC(year, month - 1, day, hour, minute, second) };
}

/** `2026-10`: the Pacific month an instant belongs to. */
export function billingMonthOf(at: Date): string {
  const { year, month } = wallOf(at);
  return `${year}-${String(month).padStart(2, '0')}`;
}

/** 01:00 Pacific on the 1st after the month of `at`. On the day the clocks go back there are two: the first one counts. */
export function monthCutOff(at: Date): Date {
  const { year, month } = wallOf(at);
  const wanted = Date.UTC(year, month, 1, 1);
  // Pacific time is seven or eight hours behind: the earlier instant that shows this wall time is the first of two.
  for (const behind of [7, 8]) {
    const instant = new Date(wanted + behind * HOUR);
    if (wallOf(instant).asUtcMs === wanted) return instant;
  }
  throw new Error('01:00 Pacific exists on every 1st');
}
