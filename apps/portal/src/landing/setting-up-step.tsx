import { Loader, Stack, Text, VisuallyHidden } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { LandingProgress } from '../api/client.js';
import { FocusHeading } from '../ui/focus-heading.js';
import { formatElapsed, formatStart } from './elapsed.js';
import { marketplaceWords } from './marketplace-words.js';
import { PurchaseSummary } from './purchase-summary.js';
import type { SessionView } from './use-landing-session.js';

/** Ticks each second. Counts from the server's `since` where it is believable, else from when this page first saw the step. */
function useElapsed({ session, stepAge, receivedAt }: SessionView): number {
  const step = `${session.state}/${session.progress?.code ?? ''}`;
  const [seen, setSeen] = useState({ step, at: receivedAt });
  if (seen.step !== step) setSeen({ step, at: receivedAt });
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return stepAge === null ? Math.max(0, now - seen.at) : stepAge + Math.max(0, now - receivedAt);
}

export function SettingUpStep({ view, takesFocus }: { readonly view: SessionView; readonly takesFocus: boolean }) {
  const { session } = view;
  const { progress } = session;
  const { name } = marketplaceWords(session.marketplace);
  return (
    <div className="twoColumns newsFirst">
      <section className="card" aria-labelledby="setting-up">
        <Stack gap="md">
          <div id="setting-up">
            <FocusHeading takesFocus={takesFocus}>We are setting up your storage</FocusHeading>
          </div>
          {/* Announces a new step, not each tick of the clock. */}
          <VisuallyHidden role="status">{progress && `${position(progress)}. ${progress.title}. ${progress.message}`}</VisuallyHidden>
          {progress ? <Stages view={view} progress={progress} /> : <Text>Your details are being taken in.</Text>}
          <Text size="sm" c="dimmed">
            Your endpoint and keys appear here as soon as they are ready. You may close this page: setting up goes on, and you can come back
            from {name} at any time.
          </Text>
        </Stack>
      </section>
      <PurchaseSummary session={session} />
    </div>
  );
}

function position({ stages }: LandingProgress): string {
  return `Step ${stages.findIndex(({ state }) => state === 'current') + 1} of ${stages.length}`;
}

const stateWords = { done: 'done', current: 'now', ahead: 'still to come' } as const;

function Stages({ view, progress }: { readonly view: SessionView; readonly progress: LandingProgress }) {
  const elapsed = useElapsed(view);
  return (
    <ol className="stages" aria-label={position(progress)}>
      {progress.stages.map(({ code, title, state }) => (
        <li key={code} data-state={state} aria-current={state === 'current' ? 'step' : undefined}>
          <span className="stageMark" aria-hidden="true">
            {state === 'done' ? '✓' : state === 'current' ? <Loader className="spinner" size={14} /> : null}
          </span>
          <div>
            <Text fw={state === 'current' ? 600 : 400} c={state === 'ahead' ? 'dimmed' : undefined}>
              {title}
              <VisuallyHidden> ({stateWords[state]})</VisuallyHidden>
            </Text>
            {state === 'current' && (
              <>
                <Text size="sm">{progress.message}</Text>
                <dl className="facts">
                  <div>
                    <dt>Waiting for</dt>
                    <dd>{progress.awaited}</dd>
                  </div>
                  <div>
                    <dt>In this step</dt>
                    <dd className="elapsed">
                      {formatElapsed(elapsed)}, since {formatStart(elapsed)}
                    </dd>
                  </div>
                </dl>
              </>
            )}
          </div>
        </li>
      ))}
    </ol>
  );
}
