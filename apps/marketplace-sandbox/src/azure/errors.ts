/** An answer of the marketplace that is not a success. The body's shape differs from call to call, as on the real service. */
export class AzureError extends Error {
  constructor(
    readonly statusCode: number,
    readonly body: unknown,
    readonly headers: Record<string, string> = {},
  ) {
    super(typeof body === 'string' ? body : JSON.stringify(body));
  }
}

// The five shapes of contract azure §3, "Error bodies seen".

export function badRequest(target: string, message: string, code = 'BadArgument'): AzureError {
  return new AzureError(400, {
    code,
    message: 'One or more errors have occurred.',
    target,
    details: [{ code, message, target }],
  });
}

export function notFound(what: string, id: string): AzureError {
  return new AzureError(404, { message: `The ${what} ${id} was not found.` });
}

export function apiVersionError(given: string | undefined): AzureError {
  return new AzureError(400, {
    Error:
      given === undefined
        ? { Code: 'ApiVersionUnspecified', Message: 'An API version is required, but was not specified.' }
        : { Code: 'UnsupportedApiVersion', Message: `The API version '${given}' is not supported.` },
  });
}

export function unauthorized(message: string): AzureError {
  return new AzureError(401, { error: { code: 'Unauthorized', message } }, { 'www-authenticate': 'Bearer error="invalid_token"' });
}

export function forbidden(): AzureError {
  return new AzureError(
    403,
    'The authorization token is invalid, expired, missing or was issued for another application than the offer names.',
  );
}

export function conflict(requestId: string): AzureError {
  return new AzureError(409, { code: 'Conflict', message: requestId });
}

export function failureBody(status: number): unknown {
  return status === 429 ? { code: 'TooManyRequests', message: 'Too many requests.' } : { message: 'An error has occurred.' };
}
