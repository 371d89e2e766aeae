export function formatElapsed(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** The reader's own wall clock, so long ago. */
export function formatStart(milliseconds: number): string {
  return clock.format(Date.now() - Math.max(0, milliseconds));
}
