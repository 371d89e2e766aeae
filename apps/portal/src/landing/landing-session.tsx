import { Alert, Group, Loader, Stack, Stepper, Text, Title, VisuallyHidden } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import type { QueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import type { LandingSession as Session } from '../api/client.js';
import { Frame } from '../ui/frame.js';
import { AccessStep } from './access-step.js';
import { DetailsStep } from './details-step.js';
import { ProblemPage } from './problem-page.js';
import { ReadyStep } from './ready-step.js';
import { SettingUpStep } from './setting-up-step.js';
import { StoppedScreen } from './stopped-screen.js';
import { useLandingSession } from './use-landing-session.js';

type Screen = 'access' | 'details' | 'setting_up' | 'ready' | 'stopped';
const STEPS = ['Your purchase', 'Setting up', 'Ready'];
const stepOf: Readonly<Record<Screen, number | null>> = { access: 0, details: 0, setting_up: 1, ready: 2, stopped: null };
const titles: Readonly<Record<Screen, string>> = {
  access: 'Ask for access — Berth',
  details: 'Set up your storage — Berth',
  setting_up: 'Setting up… — Berth',
  ready: 'Your storage is ready — Berth',
  stopped: 'Your subscription — Berth',
};

function screenOf(session: Session, detailsSent: boolean): Screen {
  switch (session.state) {
    case 'needs_access':
      return 'access';
    case 'needs_details':
      return detailsSent ? 'setting_up' : 'details';
    case 'ready':
      return 'ready';
    case 'suspended':
    case 'ended':
    case 'failed':
      return 'stopped';
    default:
      // A state of a newer server is something to wait through, not something to fail on.
      return 'setting_up';
  }
}

interface LandingSessionProps {
  readonly queryClient: QueryClient;
  readonly sessionId: string;
}

export function LandingSession({ queryClient, sessionId }: LandingSessionProps) {
  const { view, refused, reconnecting } = useLandingSession(queryClient, sessionId);
  const [detailsSent, setDetailsSent] = useState(false);
  const screen = view ? screenOf(view.session, detailsSent) : null;
  // The first screen leaves the focus where the browser put it; each later one takes it.
  const firstScreen = useRef<Screen | null>(null);
  useEffect(() => {
    firstScreen.current ??= screen;
  }, [screen]);
  const takesFocus = firstScreen.current !== null && firstScreen.current !== screen;
  useDocumentTitle(screen ? titles[screen] : titles.details);

  if (refused) {
    return (
      <ProblemPage code={refused.code} marketplace={view?.session.marketplace} supportEmail={view?.session.support.email} takesFocus />
    );
  }
  const step = screen && stepOf[screen];
  return (
    <Frame supportEmail={view?.session.support.email}>
      <Stack gap="lg">
        <Title order={1} size="h2">
          {screen === 'stopped' ? 'Your storage' : 'Set up your storage'}
        </Title>
        {step !== null && <Steps active={step} done={screen === 'ready'} />}
        <div role="status">
          {reconnecting && (
            <Alert
              color="yellow"
              variant="light"
              title="Reconnecting…"
              icon={<Loader className="spinner" size="xs" color="currentColor" />}
            >
              <Text size="sm">
                We cannot reach the server at the moment and keep trying.{' '}
                {view ? 'Nothing is lost, and setting up goes on without this page.' : 'You can leave this page open.'}
              </Text>
            </Alert>
          )}
        </div>
        {!view && !reconnecting && (
          <Group gap="sm" role="status">
            <Loader className="spinner" size="sm" />
            <Text>Looking up your purchase…</Text>
          </Group>
        )}
        {view && screen === 'access' && <AccessStep queryClient={queryClient} session={view.session} takesFocus={takesFocus} />}
        {view && screen === 'details' && (
          <DetailsStep queryClient={queryClient} session={view.session} onSent={() => setDetailsSent(true)} />
        )}
        {view && screen === 'setting_up' && <SettingUpStep view={view} takesFocus={takesFocus} />}
        {view && screen === 'ready' && <ReadyStep queryClient={queryClient} session={view.session} takesFocus={takesFocus} />}
        {view && screen === 'stopped' && <StoppedScreen session={view.session} takesFocus={takesFocus} />}
      </Stack>
    </Frame>
  );
}

function Steps({ active, done }: { readonly active: number; readonly done: boolean }) {
  return (
    <>
      <VisuallyHidden>
        Step {active + 1} of {STEPS.length}: {STEPS[active]}
      </VisuallyHidden>
      {/* Mantine's steps are buttons. Here they only show the way, so they are kept from the keyboard and from screen readers. */}
      <div inert aria-hidden="true">
        <Stepper
          active={done ? STEPS.length : active}
          size="sm"
          labelPosition="bottom"
          allowNextStepsSelect={false}
          classNames={{ stepLabel: 'stepLabel' }}
        >
          {STEPS.map((label) => (
            <Stepper.Step key={label} label={label} />
          ))}
        </Stepper>
      </div>
    </>
  );
}
