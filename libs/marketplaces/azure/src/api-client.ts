import { randomUUID } from 'node:crypto';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown } from '#marketplaces/core';
import { type HttpResponse, HttpTransportError, type Logger, realNow } from '#platform';
import type { AccessTokens, Http } from './access-token.js';
import { readErrorBody } from './error-body.js';
import { API_VERSION, type AzureSettings } from './settings.js';

export interface ApiCall {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Below the API's base, starting with `/`. */
  path: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: string;
  timeoutMs: number;
  /** A lost answer leaves an effect behind that we do not know. */
  changes: boolean;
  /** For the log. */
  operation: string;
}

export interface ApiAnswer {
  status: number;
  text: string;
  /** `Operation-Location` of a 202, as received. */
  operationLocation?: string;
}

/**
 * One call of the marketplace API. Answers come back whatever their status, but for three classes that mean the same
 * everywhere: 401 and 403 (one class, contract azure §3), 429 and 503 (come again), and an answer that did not arrive.
 */
export class ApiClient {
  constructor(
    private readonly settings: Pick<AzureSettings, 'apiUrl'>,
    private readonly http: Http,
    private readonly tokens: AccessTokens,
    private readonly logger?: Logger,
    private readonly apiVersion = API_VERSION,
  ) {}

  async call(call: ApiCall): Promise<ApiAnswer> {
    const token = await this.tokens.get();
    let answer = await this.send(call, token);
    // A token withdrawn before its end: nothing has happened, so one more try with a new one is safe.
    if (answer.status === 401) {
      const fresh = await this.tokens.get(token);
      if (fresh !== token) answer = await this.send(call, fresh);
    }
    if (answer.status === 401 || answer.status === 403) {
      const { message } = readErrorBody(answer.text);
      throw new MarketplaceRefusal('azure.unauthorised', `${call.operation}: ${message || 'the token was not taken'}`, answer.status);
    }
    if (answer.status === 429 || answer.status === 503) {
      throw new MarketplaceBusy(`${call.operation}: HTTP ${answer.status}`, retryAfterMs(answer.headers['retry-after']));
    }
    return { status: answer.status, text: answer.text, operationLocation: answer.headers['operation-location'] };
  }

  private async send(call: ApiCall, token: string): Promise<HttpResponse> {
    const query = new URLSearchParams({ ...call.query, 'api-version': this.apiVersion });
    const requestId = randomUUID();
    const started = performance.now();
    try {
      const answer = await this.http.request({
        method: call.method,
        url: `${this.settings.apiUrl}${call.path}?${query.toString()}`,
        headers: {
          accept: 'application/json',
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...call.headers,
          authorization: `Bearer ${token}`,
          'x-ms-requestid': requestId,
          'x-ms-correlationid': requestId,
        },
        body: call.body,
        timeoutMs: call.timeoutMs,
      });
      this.logger?.debug(
        {
          operation: call.operation,
          status: answer.status,
          tookMs: Math.round(performance.now() - started),
          requestId,
          theirRequestId: answer.headers['x-ms-requestid'],
          correlationId: answer.headers['x-ms-correlationid'],
        },
        'azure answered',
      );
      return answer;
    } catch (error) {
      if (!(error instanceof HttpTransportError)) throw error;
      this.logger?.debug({ operation: call.operation, code: error.code, sent: error.sent, requestId }, 'azure did not answer');
      if (error.code === 'http.not_allowed') throw new MarketplaceRefusal('azure.endpoint_not_allowed', error.message);
      if (error.sent && call.changes) throw new MarketplaceUnknown(`${call.operation}: ${error.code}`, { cause: error });
      throw new MarketplaceBusy(`${call.operation}: ${error.code}`);
    }
  }
}

/** Seconds or an HTTP date. */
export function retryAfterMs(header: string | undefined): number | null {
  const text = header?.trim();
  if (!text) return null;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - realNow().getTime());
}

/** What a status outside 2xx means for a call, when nothing better is known by re-reading. */
export function failureOf(operation: string, answer: ApiAnswer, changes: boolean): Error {
  const { code, message } = readErrorBody(answer.text);
  const text = `${operation}: HTTP ${answer.status}${code ? ` ${code}` : ''}${message ? `: ${message}` : ''}`;
  if (answer.status >= 400 && answer.status < 500 && answer.status !== 408) {
    return new MarketplaceRefusal(answer.status === 404 ? 'azure.not_found' : 'azure.refused', text, answer.status);
  }
  return changes ? new MarketplaceUnknown(text) : new MarketplaceBusy(text);
}
