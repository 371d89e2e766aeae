/** What a marketplace may answer instead of doing it; nothing else is expected of an adapter. */

/** A definite no of the marketplace (not a lost answer). `Calls.around` stores it as `refused`. */
export class MarketplaceRefusal extends Error {
  readonly outcome = 'refused';
  constructor(
    readonly code: string,
    message: string,
    readonly httpStatus?: number,
  ) {
    super(`${code}: ${message}`);
  }
}

/**
 * The marketplace shows a purchase in a way that we cannot read (an unknown state, no plan). Asking again does not help: the message
 * is kept, and a person decides with `view`, what was shown as text.
 */
export class MarketplaceUnreadable extends MarketplaceRefusal {
  constructor(
    code: string,
    message: string,
    readonly view: string,
  ) {
    super(code, message);
  }
}

/** The answer did not arrive or made no sense: the effect is unknown; re-read the truth before anything else. */
export class MarketplaceUnknown extends Error {
  readonly outcome = 'unknown';
}

/** Nothing happened there and trying later may help (throttled, unreachable before sending). */
export class MarketplaceBusy extends Error {
  readonly outcome = 'refused';
  constructor(
    message: string,
    readonly retryAfterMs: number | null = null,
  ) {
    super(message);
  }
}
