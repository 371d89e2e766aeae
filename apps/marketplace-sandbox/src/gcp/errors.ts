const STATUS = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  UNIMPLEMENTED: 501,
} as const;

/** The usual error of Google's HTTP APIs (contract gcp §2, Errors). */
export class GcpError extends Error {
  readonly statusCode: number;

  constructor(
    readonly status: keyof typeof STATUS,
    message: string,
  ) {
    super(message);
    this.statusCode = STATUS[status];
  }

  get body(): object {
    return { error: { code: this.statusCode, message: this.message, status: this.status } };
  }
}

export const invalid = (message: string): GcpError => new GcpError('INVALID_ARGUMENT', message);
export const precondition = (): GcpError => new GcpError('FAILED_PRECONDITION', 'Precondition check failed.');
export const notFound = (): GcpError => new GcpError('NOT_FOUND', 'Requested entity was not found.');

const NAMES: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  409: 'ABORTED',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};

export function failureBody(status: number): object {
  return {
    error: {
      code: status,
      message: status === 429 ? 'Resource has been exhausted (e.g. check quota).' : 'The service is currently unavailable.',
      status: NAMES[status] ?? 'UNKNOWN',
    },
  };
}

export function otherBody(status: number, message: string): object {
  return { error: { code: status, message, status: NAMES[status] ?? 'UNKNOWN' } };
}
