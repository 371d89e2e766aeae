/** A start-up fault of an embedded server that a person can mend: one line with cause and remedy. */
export class EmbeddedStartError extends Error {
  constructor(cause: string, remedy: string, options?: { cause?: unknown }) {
    super(`${cause.replace(/\s+/g, ' ').trim()}; ${remedy}`, options);
    this.name = 'EmbeddedStartError';
  }
}

/** The same way out of every embedded Postgres fault. */
export const USE_DATABASE_URL = 'set DATABASE_URL to a Postgres server (15 or newer) to run without the embedded one';
