import { errorText, type GuardedHttp, realNow } from '#platform';
import type { Check, Marketplace } from '#marketplaces/core';

/** Control plane more than this from marketplace time: closing stops (money.md, "Skew"). */
const LIMIT_MS = 60_000;
/** A `Date` header has no fraction: on average it is this much early. */
const HALF_SECOND = 500;

export interface Probe {
  what: string;
  url: string;
  /** The setting that leads there. */
  setting: string;
}

/** Whether every host of the marketplace answers, and our clock against the `Date` of its answers. Any status will do. */
export async function reachAndClock(marketplace: Marketplace, probes: Probe[], http: GuardedHttp, timeoutMs: number): Promise<Check[]> {
  const answers = await Promise.all(
    probes.map(async (probe) => {
      const before = realNow().getTime();
      try {
        const answer = await http.request({ method: 'GET', url: probe.url, timeoutMs });
        const after = realNow().getTime();
        const theirs = Date.parse(answer.headers['date'] ?? '');
        return { probe, skewMs: Number.isNaN(theirs) ? null : (before + after) / 2 - (theirs + HALF_SECOND), tookMs: after - before };
      } catch (error) {
        return { probe, error: errorText(error) };
      }
    }),
  );
  const lost = answers.flatMap((one) => ('error' in one ? [one] : []));
  const reach: Check =
    lost.length > 0
      ? {
          check: `${marketplace}.reachable`,
          result: 'fail',
          detail: lost.map(({ probe, error }) => `${probe.what}: ${error}`).join('; '),
          remedy: `Check the network, the proxy and ${[...new Set(lost.map(({ probe }) => probe.setting))].join(', ')}.`,
        }
      : { check: `${marketplace}.reachable`, result: 'pass', detail: `${probes.map((probe) => probe.what).join(', ')} answer` };
  return [reach, clockCheck(`${marketplace}.clock`, answers)];
}

function clockCheck(
  check: string,
  answers: ({ probe: Probe; error: string } | { probe: Probe; skewMs: number | null; tookMs: number })[],
): Check {
  const told = answers.flatMap((one) => ('skewMs' in one && one.skewMs !== null ? [{ ...one, skewMs: one.skewMs }] : []));
  const worst = told.toSorted((a, b) => Math.abs(b.skewMs) - Math.abs(a.skewMs))[0];
  const remedy = 'Let NTP or chrony set the clock of this machine; tokens, signatures and usage hours depend on it.';
  if (!worst)
    return { check, result: 'unknown', detail: 'no answer told the time', remedy: 'By hand: compare `date -u` with a known clock.' };
  const seconds = Math.round(Math.abs(worst.skewMs) / 1000);
  const detail = `this machine is ${seconds} s ${worst.skewMs > 0 ? 'ahead of' : 'behind'} ${worst.probe.what} (limit ${LIMIT_MS / 1000} s)`;
  if (Math.abs(worst.skewMs) > LIMIT_MS) return { check, result: 'fail', detail, remedy };
  if (Math.abs(worst.skewMs) > LIMIT_MS / 2) return { check, result: 'warn', detail, remedy };
  return { check, result: 'pass', detail };
}
