import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AwsError } from './errors.js';
import type { AwsCredential, AwsSettings } from './settings.js';

/** Real time: a signature is not business time. */
const SKEW_MS = 5 * 60_000;

export interface SignedRequest {
  method: string;
  /** Path and query as they came over the wire. */
  url: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Keys for a time, as AssumeRole gives them out. They count only together with their token. */
export interface Sessions {
  find(accessKeyId: string, token: string, realNowMs: number): AwsCredential | undefined;
}

export interface AwsCaller {
  credential: AwsCredential;
  accountId: string;
  region: string;
}

/** Signature Version 4 over the headers the caller signed (contract aws §6). */
export function verifySignature(
  request: SignedRequest,
  settings: AwsSettings,
  realNowMs: number,
  { service: wanted = 'aws-marketplace', sessions }: { service?: string; sessions?: Sessions } = {},
): AwsCaller {
  const header = request.headers.authorization;
  if (!header) throw new AwsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const parts = /^AWS4-HMAC-SHA256\s+(.*)$/.exec(header)?.[1];
  const field = (name: string): string | undefined => new RegExp(`(?:^|[,\\s])${name}=([^,\\s]+)`).exec(parts ?? '')?.[1];
  const scope = field('Credential')?.split('/');
  const signedHeaders = field('SignedHeaders');
  const signature = field('Signature');
  if (!scope || scope.length !== 5 || !signedHeaders || !signature) {
    throw new AwsError(
      'IncompleteSignatureException',
      "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.",
    );
  }
  const [accessKeyId = '', day = '', region = '', service, terminator] = scope;
  const credential =
    settings.credentials.find((one) => one.accessKeyId === accessKeyId) ??
    sessions?.find(accessKeyId, text(request.headers['x-amz-security-token']), realNowMs);
  if (!credential) throw new AwsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  // The wrong service name in the scope is answered so by the real service (contract aws §6).
  if (service !== wanted) throw invalid(`Credential should be scoped to correct service: '${wanted}'.`);
  if (terminator !== 'aws4_request') throw invalid("Credential should be scoped with a valid terminator: 'aws4_request'.");

  const names = signedHeaders.split(';');
  const date = text(request.headers['x-amz-date']);
  const instant = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(date);
  if (!instant)
    throw new AwsError(
      'IncompleteSignatureException',
      "Authorization header requires existence of an 'X-Amz-Date' header in the form YYYYMMDD'T'HHMMSS'Z'.",
    );
  if (date.slice(0, 8) !== day)
    throw invalid(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${day}' != '${date.slice(0, 8)}'.`,
    );
  const mustBeSigned = ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = mustBeSigned.find((name) => !names.includes(name));
  if (unsigned) throw invalid(`'${unsigned}' must be a 'SignedHeader' in the AWS Authorization.`);
  if (names.join(';') !== [...names].sort().join(';')) throw invalid('SignedHeaders are not in order.');
  const [, year, month, dayOfMonth, hour, minute, second] = instant.map(Number);
  const signedAtMs = Date.UTC(year ?? 0, (month ?? 1) - 1, dayOfMonth, hour, minute, second);
  if (Math.abs(realNowMs - signedAtMs) > SKEW_MS) throw invalid(`Signature expired or not yet current: ${date} is more than 5 min. away.`);

  const payloadHash = createHash('sha256').update(request.body).digest('hex');
  const told = text(request.headers['x-amz-content-sha256']);
  if (told && told !== payloadHash) throw invalid('The provided x-amz-content-sha256 header does not match what was computed.');
  const [path = '/', query = ''] = request.url.split(/\?(.*)/s);
  const canonical = [
    request.method,
    path.split('/').map(encode).join('/'),
    query.split('&').filter(Boolean).sort().join('&'),
    ...names.map((name) => `${name}:${text(request.headers[name]).trim().replace(/\s+/g, ' ')}`),
    '',
    signedHeaders,
    payloadHash,
  ].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', date, scope.slice(1).join('/'), createHash('sha256').update(canonical).digest('hex')].join('\n');
  const key = [day, region, wanted, 'aws4_request'].reduce<Buffer>(hmac, Buffer.from(`AWS4${credential.secretAccessKey}`));
  const expected = Buffer.from(hmac(key, toSign).toString('hex'));
  const given = Buffer.from(signature);
  if (expected.length !== given.length || !timingSafeEqual(expected, given)) {
    throw invalid(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
    );
  }
  return { credential, accountId: credential.accountId ?? settings.sellerAccountId, region };
}

function hmac(key: Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

function text(value: string | string[] | undefined): string {
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}

function encode(segment: string): string {
  return encodeURIComponent(segment).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function invalid(message: string): AwsError {
  return new AwsError('InvalidSignatureException', message);
}
