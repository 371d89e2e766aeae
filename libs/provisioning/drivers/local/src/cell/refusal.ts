/** Answers of the gateway itself, in the form of Azure Storage errors, so that SDKs read them as their own. */
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

export const REFUSALS = {
  /** Suspended and closed (Azure's own code for a disabled storage account). */
  disabled: { status: 403, code: 'AccountIsDisabled', message: 'The specified account is disabled.' },
  unknown: { status: 404, code: 'ResourceNotFound', message: 'The specified resource does not exist.' },
  badPath: { status: 400, code: 'InvalidUri', message: 'The requested URI does not represent any resource on the server.' },
  /** Azure Blob has no code for a capacity limit of ours; 409 is not retried by its SDKs and is no failure of credentials. */
  quota: { status: 409, code: 'QuotaExceeded', message: 'The write would exceed the hard quota of the account.' },
  noLength: { status: 411, code: 'MissingContentLengthHeader', message: 'The Content-Length header was not specified.' },
  copySource: { status: 403, code: 'CannotVerifyCopySource', message: 'A copy source must be in the same account at this endpoint.' },
  starting: { status: 503, code: 'ServerBusy', message: 'The cell is starting.' },
  upstream: { status: 500, code: 'InternalError', message: 'The server encountered an internal error.' },
} as const satisfies Record<string, Refusal>;

const DRAIN_MS = 30_000;

export function refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = Buffer.from(
    `<?xml version="1.0" encoding="utf-8"?><Error><Code>${refusal.code}</Code><Message>${refusal.message}</Message></Error>`,
  );
  response.writeHead(refusal.status, {
    'content-type': 'application/xml',
    'content-length': body.length,
    'x-ms-error-code': refusal.code,
    ...(refusal.status === 503 ? { 'retry-after': '1' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
  // A client that still sends would see a reset instead of the answer: let it finish, within bounds.
  if (!request.complete) {
    request.resume();
    const timer = setTimeout(() => request.destroy(), DRAIN_MS).unref();
    request.once('close', () => clearTimeout(timer));
  }
}
