import { Stack, Text } from '@mantine/core';
import type { QueryClient } from '@tanstack/react-query';
import type { LandingSession } from '../api/client.js';
import { FocusHeading } from '../ui/focus-heading.js';
import { AccessForm } from './access-form.js';
import { PurchaseSummary } from './purchase-summary.js';
import { OtherwiseAsk, SignInOffer } from './sign-in-offer.js';

interface AccessStepProps {
  readonly queryClient: QueryClient;
  readonly session: LandingSession;
  readonly takesFocus: boolean;
}

/** Before the form, where the seller checks who sets a purchase up: a link can be passed on, a purchase must not be. */
export function AccessStep({ queryClient, session, takesFocus }: AccessStepProps) {
  const settled = session.access.state === 'pending' || session.access.state === 'rejected';
  return (
    <div className="twoColumns">
      <PurchaseSummary session={session} />
      <section className="card" aria-label="Access">
        <Stack gap="md">
          <FocusHeading takesFocus={takesFocus}>
            {settled ? 'Access to this purchase' : session.signIn ? 'Sign in to go on' : 'Tell the seller who you are'}
          </FocusHeading>
          {!settled && (
            <Text size="sm">
              Links can be passed on. So it is checked who sets this purchase up before anything is shown. Nothing is lost meanwhile, and
              nothing is bought again.
            </Text>
          )}
          <SignInOffer session={session} />
          <OtherwiseAsk session={session} />
          <AccessForm queryClient={queryClient} session={session} wish="Ask for access" />
        </Stack>
      </section>
    </div>
  );
}
