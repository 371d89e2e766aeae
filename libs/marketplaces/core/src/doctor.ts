/** One finding of a doctor. `remedy` says how to mend it, or for `unknown` how a person finds out. */
export interface Check {
  /** `<marketplace>.<what>`, stable. */
  check: string;
  result: 'pass' | 'warn' | 'fail' | 'unknown';
  detail: string;
  remedy?: string;
}

/** What our catalog says of one offer; a doctor compares it with the listing as far as an API tells. */
export interface ExpectedListing {
  externalOfferId: string;
  plans: {
    externalPlanId: string;
    meters: { dimension: string; listedUnit: string; /** Decimal text, in listed units. */ included: string | null }[];
  }[];
}

export interface DoctorOptions {
  listings?: ExpectedListing[];
  /** Real milliseconds for each check. */
  timeoutMs?: number;
}

export const CHECK_TIMEOUT_MS = 15_000;

/** Some clients have no time-out of their own for every step (credentials that are looked up at a metadata server). */
export async function timeLimited<T>(work: () => Promise<T>, timeoutMs = CHECK_TIMEOUT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
