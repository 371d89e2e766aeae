/** An answer of the metering service that is not a success (contract aws §6): a type name and a message. */
export class AwsError extends Error {
  constructor(
    readonly type: string,
    message: string,
    readonly statusCode = type === 'InternalServiceErrorException' ? 500 : 400,
  ) {
    super(message);
  }
}

export function errorText(type: string, message: string): string {
  return JSON.stringify({ __type: type, message });
}

/** Of a session whose keys have run out: the same name as for a registration token, in a service's own protocol. */
export const expiredToken = (): AwsError => new AwsError('ExpiredTokenException', 'The security token included in the request is expired');

/** The service's words for an injected failure. A 503 comes from the front door, as a page (contract aws §6). */
export function failureText(status: number): string {
  if (status === 503) return '<html><body><b>Http/1.1 Service Unavailable</b></body></html>';
  if (status >= 500) return errorText('InternalServiceErrorException', 'An internal error has occurred. Retry your request.');
  if (status === 403) return errorText('AccessDeniedException', 'You do not have sufficient access to perform this action.');
  return errorText('ThrottlingException', 'Rate exceeded');
}

const QUERY_NAMES: Record<string, string> = {
  ExpiredTokenException: 'ExpiredToken',
  InvalidSignatureException: 'SignatureDoesNotMatch',
  UnrecognizedClientException: 'InvalidClientTokenId',
  MissingAuthenticationTokenException: 'MissingAuthenticationToken',
  IncompleteSignatureException: 'IncompleteSignature',
  AccessDeniedException: 'AccessDenied',
  ThrottlingException: 'Throttling',
  UnknownOperationException: 'InvalidAction',
  ValidationException: 'ValidationError',
};
const FORBIDDEN = new Set([
  'ExpiredToken',
  'SignatureDoesNotMatch',
  'InvalidClientTokenId',
  'MissingAuthenticationToken',
  'AccessDenied',
  'AuthorizationError',
]);

export const xmlOf = (text: string): string => text.replace(/[<>&'"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** The same error as the query protocol (SNS, STS) words it. */
export function queryError(type: string, message: string, requestId: string): { status: number; text: string } {
  const code = QUERY_NAMES[type] ?? type;
  const status = FORBIDDEN.has(code) ? 403 : code === 'InternalServiceErrorException' ? 500 : 400;
  const text = `<ErrorResponse><Error><Type>${status === 500 ? 'Receiver' : 'Sender'}</Type><Code>${code}</Code><Message>${xmlOf(message)}</Message></Error><RequestId>${requestId}</RequestId></ErrorResponse>`;
  return { status, text };
}
