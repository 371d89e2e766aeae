import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown } from '#marketplaces/core';
import { type HttpResponse, HttpTransportError, type Logger, realNow } from '#platform';
import type { AuthHeader } from './access-token.js';
import { fieldsOf, jsonOf, textOf } from './liberal.js';
import type { Http } from './settings.js';

export interface ApiCall {
  method: 'GET' | 'POST' | 'PATCH';
  url: string;
  query?: Record<string, string>;
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
}

/**
 * One call of a Google API. Answers come back whatever their status, but for three classes that mean the same everywhere: 401
 * and 403, 429 and 503 (nothing has happened, come again), and an answer that did not arrive.
 */
export class ApiClient {
  constructor(
    private readonly http: Http,
    private readonly auth: AuthHeader,
    private readonly logger?: Logger,
  ) {}

  async call(call: ApiCall): Promise<ApiAnswer> {
    const authorization = await this.auth();
    const answer = await this.send(call, authorization);
    if (answer.status === 401 || answer.status === 403) {
      throw new MarketplaceRefusal(
        'gcp.unauthorised',
        `${call.operation}: ${errorOf(answer.text).message || 'the credentials were not taken'}`,
        answer.status,
      );
    }
    if (answer.status === 429 || answer.status === 503) {
      throw new MarketplaceBusy(`${call.operation}: HTTP ${answer.status}`, retryAfterMs(answer.headers['retry-after']));
    }
    return { status: answer.status, text: answer.text };
  }

  private async send(call: ApiCall, authorization: string | null): Promise<HttpResponse> {
    const query = call.query ? `?${new URLSearchParams(call.query).toString()}` : '';
    const started = performance.now();
    try {
      const answer = await this.http.request({
        method: call.method,
        url: `${call.url}${query}`,
        headers: {
          accept: 'application/json',
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(authorization === null ? {} : { authorization }),
        },
        body: call.body,
        timeoutMs: call.timeoutMs,
      });
      this.logger?.debug(
        { operation: call.operation, status: answer.status, tookMs: Math.round(performance.now() - started) },
        'google answered',
      );
      return answer;
    } catch (error) {
      if (!(error instanceof HttpTransportError)) throw error;
      this.logger?.debug({ operation: call.operation, code: error.code, sent: error.sent }, 'google did not answer');
      // Our own set-up forbids the address: told as a refused key is, so that what was to be sent waits and a person hears of it.
      if (error.code === 'http.not_allowed') throw new MarketplaceRefusal('gcp.endpoint_not_allowed', error.message, NOT_ABOUT_CONTENT);
      if (error.sent && call.changes) throw new MarketplaceUnknown(`${call.operation}: ${error.code}`, { cause: error });
      throw new MarketplaceBusy(`${call.operation}: ${error.code}`);
    }
  }
}

/** `{"error":{"code","message","status"}}`, or anything. */
export function errorOf(text: string): { status: string | null; message: string } {
  const error = fieldsOf(fieldsOf(jsonOf(text))['error']);
  const message = textOf(error['message']) ?? '';
  return { status: textOf(error['status']), message: message.length > 500 ? `${message.slice(0, 500)}…` : message };
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
  const { status, message } = errorOf(answer.text);
  const text = `${operation}: HTTP ${answer.status}${status ? ` ${status}` : ''}${message ? `: ${message}` : ''}`;
  if (answer.status >= 400 && answer.status < 500 && answer.status !== 408) {
    return new MarketplaceRefusal(answer.status === 404 ? 'gcp.not_found' : 'gcp.refused', text, answer.status);
  }
  return changes ? new MarketplaceUnknown(text) : new MarketplaceBusy(text);
}

/**
 * Of a refusal that says nothing about what was sent: an address or a service that we name wrongly. Whoever sends usage waits and
 * tells a person, as after a refused key, where another 4xx would be the end of an item.
 */
export const NOT_ABOUT_CONTENT = 403;

export const isOk = (answer: ApiAnswer): boolean => answer.status >= 200 && answer.status < 300;
