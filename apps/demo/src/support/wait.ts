import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

/** Asks until there is an answer, within bounds; a thrown error counts as "not yet" only where `tolerate` says so. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false | null>,
  { seconds = 30, everyMs = 150, tolerate = false }: { seconds?: number; everyMs?: number; tolerate?: boolean } = {},
): Promise<T> {
  const limit = performance.now() + seconds * 1000;
  let last = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false && answer !== null) return answer;
    } catch (error) {
      if (!tolerate) throw error;
      last = ` (${(error as Error).message})`;
    }
    if (performance.now() > limit) throw new Error(`waited ${seconds} s in vain for: ${what}${last}`);
    await sleep(everyMs);
  }
}
