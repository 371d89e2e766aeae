import { Alert, Button, Group, Stack, Text } from '@mantine/core';
import type { LandingSession } from '../api/client.js';
import { FocusHeading } from '../ui/focus-heading.js';
import { ValueField } from '../ui/value-field.js';
import { marketplaceWords, type MarketplaceWords } from './marketplace-words.js';
import { PurchaseSummary } from './purchase-summary.js';

interface Words {
  readonly title: string;
  readonly detail: string;
  readonly remedy: string;
}

const day = (iso: string): string => new Date(iso).toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'short' });

/** What becomes of the data, and how it is taken along. */
function keptWords({ until, export: taken, readableUntil }: NonNullable<LandingSession['keptData']>): string {
  if (taken === 'not_needed') return 'Nothing of yours is stored any more.';
  if (readableUntil) return `Your data can be read with your keys until ${day(readableUntil)}. Nothing can be written.`;
  if (taken === 'open') return `Your data is kept until ${day(until)} at least. If you still need it, write to us: we open it for reading.`;
  return `Your data is deleted after ${day(until)}.`;
}

function wordsOf(state: LandingSession['state'], { name }: MarketplaceWords): Words {
  if (state === 'suspended') {
    return {
      title: 'Your subscription is suspended',
      detail: 'Your storage does not serve requests at the moment. Your data is kept.',
      remedy: `This mostly means that a payment did not go through. Settle it with ${name}; your storage then works again by itself.`,
    };
  }
  if (state === 'ended') {
    return {
      title: 'Your subscription has ended',
      detail: 'The storage of this subscription no longer serves requests.',
      remedy: `If you did not mean to end it, write to us soon. You can also buy the product again on ${name}.`,
    };
  }
  return {
    title: 'Your storage could not be set up',
    detail: 'Something went wrong on our side. Your purchase is known and your details are kept: you need not enter them again.',
    remedy: 'Write to us and give the reference below.',
  };
}

export function StoppedScreen({ session, takesFocus }: { readonly session: LandingSession; readonly takesFocus: boolean }) {
  const { state, problem, support } = session;
  // Of the server: it can be looked up there and opens nothing, as the id of this page does.
  const { reference } = support;
  const marketplace = marketplaceWords(session.marketplace);
  const mail = `mailto:${support.email}?subject=${encodeURIComponent(`Set-up of storage: ${reference}`)}`;
  const words = wordsOf(state, marketplace);
  return (
    <div className="twoColumns newsFirst">
      <section className="card" aria-label={words.title}>
        <Stack gap="md">
          <FocusHeading takesFocus={takesFocus}>{words.title}</FocusHeading>
          <Alert color={state === 'suspended' ? 'yellow' : state === 'failed' ? 'red' : 'gray'} variant="light">
            <Text size="sm">{words.detail}</Text>
            {session.keptData && (
              <Text size="sm" mt={6}>
                {keptWords(session.keptData)}
              </Text>
            )}
            {problem && (
              <Text size="sm" mt={6}>
                {problem.detail}
              </Text>
            )}
          </Alert>
          <div>
            <Text fw={600}>What to do</Text>
            <Text>{problem?.remedy ?? words.remedy}</Text>
          </div>
          {session.endpoint && (
            <>
              <ValueField label="Endpoint" value={session.endpoint.url} />
              <ValueField label="Account name" value={session.endpoint.accountName} />
              {session.endpoint.keys?.map((key) => (
                <ValueField key={key.id} label={`Access key (${key.id})`} value={key.secret} secret />
              ))}
            </>
          )}
          <Group>
            {/* What stands out is what helps: a failure is ours to mend, all else is settled with the marketplace. */}
            <Button component="a" href={mail} variant={state === 'failed' ? 'filled' : 'default'}>
              Write to support
            </Button>
            <Button
              component="a"
              href={marketplace.manageUrl}
              target="_blank"
              rel="noopener noreferrer"
              variant={state === 'failed' ? 'default' : 'filled'}
            >
              {marketplace.manageLabel}
            </Button>
          </Group>
          <ValueField label="Reference for support" value={reference} />
          {problem && (
            <Text size="sm" c="dimmed">
              Code: {problem.code}
            </Text>
          )}
        </Stack>
      </section>
      <PurchaseSummary session={session} />
    </div>
  );
}
