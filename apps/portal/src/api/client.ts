// The types come from the control plane's own description: `npm run generate` renews them, `npm run check` tells when they are stale.
import createClient from 'openapi-fetch';
import type { components, paths } from '../../../../openapi/generated/control-plane.js';

type Schemas = components['schemas'];
export type LandingSession = Schemas['LandingSession'];
export type LandingDetails = Schemas['LandingDetails'];
export type LandingClaim = Schemas['LandingClaim'];
export type LandingProgress = Schemas['LandingProgress'];
export type LandingEndpoint = Schemas['LandingEndpoint'];
export type Marketplace = LandingSession['marketplace'];
export type Problem = Schemas['Problem'];
export type FieldError = Schemas['FieldError'];

const REQUEST_TIMEOUT_MS = 10_000;

/** The server understood the request and refused it: asking again changes nothing. */
export class RefusedError extends Error {
  constructor(
    readonly code: string,
    readonly detail: string,
    readonly errors: readonly FieldError[],
    /** Names this very answer to support. */
    readonly instance: string | null,
  ) {
    super(detail);
    this.name = 'RefusedError';
  }
}

/** No answer of ours arrived: the network, a restart, or a proxy's own error page. Asking again is right. */
export class UnreachableError extends Error {
  constructor(cause: unknown) {
    super('the server could not be reached', { cause });
    this.name = 'UnreachableError';
  }
}

export interface SessionAnswer {
  readonly session: LandingSession;
  /** The server's real time (`Date` header). The browser's own clock may be wrong. */
  readonly serverTime: number | null;
}

const client = createClient<paths>({ baseUrl: window.location.origin, cache: 'no-store' });

interface Answer {
  readonly data?: LandingSession;
  readonly error?: unknown;
  readonly response: Response;
}

async function settle(request: Promise<Answer>): Promise<SessionAnswer> {
  let answer: Answer;
  try {
    answer = await request;
  } catch (cause) {
    throw new UnreachableError(cause);
  }
  const { data, error, response } = answer;
  if (typeof data?.state === 'string') {
    const date = Date.parse(response.headers.get('date') ?? '');
    return { session: data, serverTime: Number.isNaN(date) ? null : date };
  }
  const problem = error as Partial<Problem> | undefined;
  const refused = response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
  // A 404 page without our code comes from a proxy while the server restarts, not from the server.
  if (refused && typeof problem?.code === 'string') {
    throw new RefusedError(problem.code, problem.detail ?? '', problem.errors ?? [], problem.instance ?? null);
  }
  throw new UnreachableError(response.status);
}

export function readSession(sessionId: string): Promise<SessionAnswer> {
  return settle(
    client.GET('/landing/api/sessions/{sessionId}', {
      params: { path: { sessionId } },
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    }),
  );
}

export function sendClaim(sessionId: string, claim: LandingClaim): Promise<SessionAnswer> {
  return settle(
    client.POST('/landing/api/sessions/{sessionId}/claim', {
      params: { path: { sessionId } },
      body: claim,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    }),
  );
}

export function sendDetails(sessionId: string, details: LandingDetails): Promise<SessionAnswer> {
  return settle(
    client.POST('/landing/api/sessions/{sessionId}/details', {
      params: { path: { sessionId } },
      body: details,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    }),
  );
}
