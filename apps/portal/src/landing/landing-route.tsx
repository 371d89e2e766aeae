import { useQueryClient } from '@tanstack/react-query';
import { LandingSession } from './landing-session.js';
import { ProblemPage } from './problem-page.js';

const SESSION_PATH = /^\/landing\/s\/([^/]+)\/?$/;

export function LandingRoute({ location }: { readonly location: Pick<Location, 'pathname' | 'search'> }) {
  const queryClient = useQueryClient();
  const sessionId = SESSION_PATH.exec(location.pathname)?.[1];
  if (sessionId) return <LandingSession queryClient={queryClient} sessionId={decodeURIComponent(sessionId)} />;
  const query = new URLSearchParams(location.search);
  return <ProblemPage code={query.get('code')} marketplace={query.get('marketplace')} />;
}
