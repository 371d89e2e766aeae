import { Alert, Button, Group, Stack, Text } from '@mantine/core';
import type { LandingSession } from '../api/client.js';

/** What the page's address tells of a sign-in that came back without a person; any other word says nothing. */
const WENT_WRONG: Readonly<Record<string, string>> = {
  declined: 'You did not sign in. Nothing has changed.',
  refused: 'Microsoft did not confirm who you are. Try again; if it happens again, ask the seller below.',
  unavailable: 'Microsoft does not answer at the moment. Wait a minute and try again.',
};

/** Proves by the visitor's own account that the purchase is his. */
export function SignInOffer({ session }: { readonly session: LandingSession }) {
  const { signIn, access } = session;
  if (!signIn || access.state === 'pending') return null;
  const wrong = WENT_WRONG[new URLSearchParams(window.location.search).get('signIn') ?? ''];
  return (
    <Stack gap="sm">
      {wrong && (
        <Alert color="yellow" variant="light" title="You are not signed in" role="status">
          <Text size="sm">{wrong}</Text>
        </Alert>
      )}
      {signIn.signedInAs ? (
        <Alert color="yellow" variant="light" title="This account is not the one the purchase was made for" role="status">
          <Text size="sm">You are signed in as {signIn.signedInAs}. Use the account of the purchase, or ask the seller to let you in.</Text>
        </Alert>
      ) : (
        <Text size="sm">
          Sign in with the Microsoft account that this purchase was made for, and you go on at once. We see who you are, and get access to
          nothing of yours.
        </Text>
      )}
      <Group>
        <Button component="a" href={signIn.signedInAs ? `${signIn.startUrl}?choose=1` : signIn.startUrl}>
          {signIn.signedInAs ? 'Use another account' : 'Sign in with Microsoft'}
        </Button>
      </Group>
    </Stack>
  );
}

/** Leads on to asking the seller, where signing in stands above it. */
export function OtherwiseAsk({ session }: { readonly session: LandingSession }) {
  const { signIn, access } = session;
  if (!signIn || access.state === 'pending' || access.state === 'rejected') return null;
  return (
    <Text size="sm" fw={600} component="h3" m={0}>
      You cannot sign in with that account? Ask the seller.
    </Text>
  );
}
