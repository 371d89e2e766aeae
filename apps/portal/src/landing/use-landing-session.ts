import { queryOptions, useQuery, type QueryClient } from '@tanstack/react-query';
import { readSession, RefusedError, type LandingEndpoint, type LandingSession, type SessionAnswer } from '../api/client.js';

export interface SessionView {
  readonly session: LandingSession;
  /** Age of the present step when the answer arrived, or null where the server's clocks do not allow to tell. */
  readonly stepAge: number | null;
  /** performance.now() of the answer. */
  readonly receivedAt: number;
}

const MAX_STEP_AGE_MS = 48 * 3_600_000;
const RETRY_MS = [1_000, 1_000, 2_000, 4_000, 8_000];

export const sessionKey = (sessionId: string) => ['landing-session', sessionId] as const;

/** Secrets come once. An answer without them must not wipe those on the screen. */
export function keepSecrets(known: LandingSession | undefined, fresh: LandingSession): LandingSession {
  if (!known) return fresh;
  const endpoint: LandingEndpoint | null = fresh.endpoint && {
    ...fresh.endpoint,
    keys: fresh.endpoint.keys ?? known.endpoint?.keys ?? null,
  };
  return { ...fresh, endpoint, apiKey: fresh.apiKey ?? known.apiKey };
}

export function toView(known: SessionView | undefined, { session, serverTime }: SessionAnswer): SessionView {
  const since = Date.parse(session.progress?.since ?? '');
  const age = serverTime === null ? Number.NaN : serverTime - since;
  // `since` may be business time, which can run ahead of the real time of the Date header.
  const believable = age > -2_000 && age < MAX_STEP_AGE_MS;
  return { session: keepSecrets(known?.session, session), stepAge: believable ? Math.max(0, age) : null, receivedAt: performance.now() };
}

/** Quick while something may happen any moment, slower the longer it takes. */
function pollEvery(view: SessionView | undefined, answers: number): number | false {
  const state = view?.session.state;
  // Somebody decides about it: minutes, or days.
  if (view?.session.access.state === 'pending') return answers < 60 ? 5_000 : 15_000;
  if (state === 'needs_access' || state === 'needs_details' || state === 'ready' || state === 'ended') return false;
  if (state === 'suspended' || state === 'failed') return 15_000;
  if (answers < 30) return 1_000;
  return answers < 90 ? 2_000 : 5_000;
}

function options(client: QueryClient, sessionId: string) {
  const queryKey = sessionKey(sessionId);
  return queryOptions({
    queryKey,
    // The request is never aborted: an answer that nobody reads may be the one that carried the keys.
    queryFn: async () => {
      const answer = await readSession(sessionId);
      return toView(client.getQueryData<SessionView>(queryKey), answer);
    },
    structuralSharing: false,
    retry: (_failures, error) => !(error instanceof RefusedError),
    retryDelay: (failures) => RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 8_000,
    refetchInterval: (query) => (query.state.error ? false : pollEvery(query.state.data, query.state.dataUpdateCount)),
    refetchIntervalInBackground: true,
    refetchOnWindowFocus: (query) => query.state.data?.session.state !== 'ready',
  });
}

export function useLandingSession(client: QueryClient, sessionId: string) {
  const query = useQuery(options(client, sessionId));
  return {
    view: query.data,
    refused: query.error instanceof RefusedError ? query.error : null,
    reconnecting: query.isFetching && query.failureCount > 0,
  };
}
