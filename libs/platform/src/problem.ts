/** The closed set of failure kinds; each maps to one HTTP status (RFC 9457 problem documents). */
export type ProblemKind =
  | 'validation'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'gone'
  | 'too_large'
  | 'unsupported_media'
  | 'unprocessable'
  | 'too_many'
  | 'unavailable'
  | 'internal';

export const PROBLEM_STATUS: Record<ProblemKind, number> = {
  validation: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  gone: 410,
  too_large: 413,
  unsupported_media: 415,
  unprocessable: 422,
  too_many: 429,
  unavailable: 503,
  internal: 500,
};

/**
 * An expected failure. `code` is stable and dotted (`landing.token_expired`): clients may branch on it.
 * `detail` is for a person and never carries a secret. `extra` is added to the problem document.
 */
export class ProblemError extends Error {
  constructor(
    readonly kind: ProblemKind,
    readonly code: string,
    readonly detail: string,
    readonly extra: Record<string, unknown> = {},
    options?: { cause?: unknown },
  ) {
    super(`${code}: ${detail}`, options);
    this.name = 'ProblemError';
  }

  get status(): number {
    return PROBLEM_STATUS[this.kind];
  }

  /** The `application/problem+json` document. */
  toDocument(instance?: string): Record<string, unknown> {
    return {
      ...this.extra,
      type: `https://berth.example/problems/${this.code}`,
      title: this.code,
      status: this.status,
      code: this.code,
      detail: this.detail,
      ...(instance ? { instance } : {}),
    };
  }
}

export const errorText = (error: unknown): string => (error instanceof Error ? error.message || error.name : String(error));
