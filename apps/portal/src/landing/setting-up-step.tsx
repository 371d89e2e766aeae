import { Group, Loader, Progress, Stack, Text, VisuallyHidden } from '@mantine/core';
import { useEffect, useState } from 'react';
import { FocusHeading } from '../ui/focus-heading.js';
import { marketplaceWords } from './marketplace-words.js';
import { buyersText, formatElapsed, phaseTitle } from './progress-words.js';
import { PurchaseSummary } from './purchase-summary.js';
import type { SessionView } from './use-landing-session.js';

/** Ticks each second. Counts from the server's `since` where it is believable, else from when this page first saw the phase. */
function useElapsed({ session, phaseAge, receivedAt }: SessionView): number {
  const phase = `${session.state}/${session.progress?.phase ?? ''}`;
  const [seen, setSeen] = useState({ phase, at: receivedAt });
  if (seen.phase !== phase) setSeen({ phase, at: receivedAt });
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return phaseAge === null ? now - seen.at : phaseAge + Math.max(0, now - receivedAt);
}

export function SettingUpStep({ view, takesFocus }: { readonly view: SessionView; readonly takesFocus: boolean }) {
  const { session } = view;
  const { progress } = session;
  const elapsed = useElapsed(view);
  const { name } = marketplaceWords(session.marketplace);
  const title = phaseTitle(session);
  const message = buyersText(progress?.message);
  const awaited = buyersText(progress?.awaited);
  const position = progress && progress.steps > 0 ? `Step ${progress.step} of ${progress.steps}` : null;
  const waitsForMarketplace = session.state === 'awaiting_marketplace';
  return (
    <div className="twoColumns newsFirst">
      <section className="card" aria-labelledby="setting-up">
        <Stack gap="md">
          <div id="setting-up">
            <FocusHeading takesFocus={takesFocus}>We are setting up your storage</FocusHeading>
          </div>
          {/* Announces a new phase, not each tick of the clock. */}
          <VisuallyHidden role="status">{[position, title, message].filter(Boolean).join('. ')}</VisuallyHidden>
          <Group gap="sm" wrap="nowrap" align="flex-start">
            <Loader className="spinner" size="sm" mt={3} aria-hidden="true" />
            <div>
              <Text fw={600}>{title}</Text>
              {message && <Text size="sm">{message}</Text>}
            </div>
          </Group>
          {progress && position && (
            <Progress.Root size="lg" radius="xl">
              <Progress.Section
                value={Math.min(100, (100 * (progress.step - 0.5)) / progress.steps)}
                aria-label="Setting up"
                aria-valuetext={position}
              />
            </Progress.Root>
          )}
          <dl className="facts">
            {position && (
              <div>
                <dt>Progress</dt>
                <dd>{position}</dd>
              </div>
            )}
            {awaited && (
              <div>
                <dt>Waiting for</dt>
                <dd>{awaited}</dd>
              </div>
            )}
            <div>
              <dt>In this step for</dt>
              <dd className="elapsed">{formatElapsed(elapsed)}</dd>
            </div>
          </dl>
          <Text size="sm" c="dimmed">
            {waitsForMarketplace
              ? `There is nothing you have to do: ${name} has to confirm your purchase first, which can take some minutes. `
              : 'Your endpoint and keys appear here as soon as they are ready. '}
            You may close this page: setting up goes on, and you can come back from {name} at any time.
          </Text>
        </Stack>
      </section>
      <PurchaseSummary session={session} />
    </div>
  );
}
