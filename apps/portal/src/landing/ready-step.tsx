import { Alert, Button, Group, Stack, Text, Title } from '@mantine/core';
import type { QueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { LandingSession } from '../api/client.js';
import { CopyButton } from '../ui/copy-button.js';
import { FocusHeading } from '../ui/focus-heading.js';
import { ValueField } from '../ui/value-field.js';
import { marketplaceWords } from './marketplace-words.js';
import { AccessForm } from './access-form.js';
import { PurchaseSummary } from './purchase-summary.js';
import { OtherwiseAsk, SignInOffer } from './sign-in-offer.js';
import { storageSnippet } from './snippet.js';

interface ReadyStepProps {
  readonly queryClient: QueryClient;
  readonly session: LandingSession;
  readonly takesFocus: boolean;
}

export function ReadyStep({ queryClient, session, takesFocus }: ReadyStepProps) {
  const { endpoint, tenant, apiKey, access } = session;
  const marketplace = marketplaceWords(session.marketplace);
  const secrets = [...(endpoint?.keys ?? []).map(({ id }) => id), ...(apiKey ? ['API key'] : [])];
  const [saved, setSaved] = useState<readonly string[]>([]);
  const save = (name: string) => setSaved((names) => (names.includes(name) ? names : [...names, name]));
  const once = Boolean(endpoint?.keysShownOnce && secrets.length > 0);
  useLeaveWarning(once && secrets.some((name) => !saved.includes(name)));
  const snippet = endpoint && storageSnippet(endpoint);

  return (
    <Stack gap="lg">
      <section className="card" aria-label="Your endpoint">
        <Stack gap="md">
          <div>
            <FocusHeading takesFocus={takesFocus}>Your storage is ready</FocusHeading>
            <Text c="dimmed" size="sm" mt={4}>
              {tenant ? `Set up for ${tenant.displayName}. ` : ''}It works with every program that speaks Azure Blob Storage.
            </Text>
          </div>
          {once && (
            <Alert color="yellow" variant="light" title="Copy your keys now">
              <Text size="sm">
                Another visit shows them only to the person the purchase was made for, or after the seller has let it in. Keep them in a
                safe place, because whoever has a key can read and change your data.
              </Text>
            </Alert>
          )}
          {endpoint && (
            <Stack gap="sm">
              <ValueField label="Endpoint" value={endpoint.url} />
              <ValueField label="Account name" value={endpoint.accountName} />
              {endpoint.keys?.map(({ id, secret }) => (
                <ValueField key={id} label={`Access key (${id})`} value={secret} secret onSeen={() => save(id)} />
              ))}
            </Stack>
          )}
          {endpoint && !endpoint.keys && (
            <Alert color="harbour" variant="light" title="Your access keys are not shown here">
              <Text size="sm">
                For your safety they are shown to the visit that gave the details, to whom the purchase was made for, and to whom the seller
                lets in.
              </Text>
            </Alert>
          )}
          {endpoint && !endpoint.keys && access.state !== 'granted' && (
            <>
              <SignInOffer session={session} />
              <OtherwiseAsk session={session} />
              <AccessForm queryClient={queryClient} session={session} wish="Ask for the keys" />
            </>
          )}
          {apiKey && (
            <Stack gap={4}>
              <ValueField label="API key" value={apiKey} secret onSeen={() => save('API key')} />
              <Text size="sm" c="dimmed">
                With it your programs read the state of your subscription and its usage.
              </Text>
            </Stack>
          )}
          <Group>
            <Button component="a" href={marketplace.manageUrl} target="_blank" rel="noopener noreferrer" variant="default">
              {marketplace.manageLabel}
            </Button>
          </Group>
        </Stack>
      </section>
      {snippet && (
        <section className="card" aria-labelledby="first-file">
          <Stack gap="sm">
            <Group justify="space-between">
              <Title order={2} size="h3" id="first-file">
                Store your first file
              </Title>
              <CopyButton text={snippet} what="the program" />
            </Group>
            <Text size="sm" c="dimmed">
              Save it as <code>first-file.mjs</code> and run it with Node.js. It stores a file and reads it back.
            </Text>
            <pre className="snippet" tabIndex={0} role="region" aria-label="Program that stores a file">
              <code>{snippet}</code>
            </pre>
          </Stack>
        </section>
      )}
      <PurchaseSummary session={session} />
    </Stack>
  );
}

/** A closed tab would lose keys that no later visit shows. */
function useLeaveWarning(active: boolean): void {
  useEffect(() => {
    if (!active) return undefined;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [active]);
}
