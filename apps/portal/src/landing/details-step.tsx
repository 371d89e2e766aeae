import { Alert, Button, Group, NativeSelect, Stack, Text, TextInput, Title } from '@mantine/core';
import { useMutation, type QueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { RefusedError, sendDetails, type LandingDetails, type LandingSession } from '../api/client.js';
import { cleanDetails, detailsProblems, FIELDS, isField, type FieldProblems } from './details-rules.js';
import { PurchaseSummary } from './purchase-summary.js';
import { sessionKey, toView, type SessionView } from './use-landing-session.js';

interface DetailsStepProps {
  readonly queryClient: QueryClient;
  readonly session: LandingSession;
  readonly onSent: () => void;
}

function readForm(form: HTMLFormElement): LandingDetails {
  const values = new FormData(form);
  const text = (name: keyof LandingDetails): string => String(values.get(name) ?? '');
  return cleanDetails({
    organisation: text('organisation'),
    region: text('region'),
    contactName: text('contactName'),
    contactEmail: text('contactEmail'),
  });
}

export function DetailsStep({ queryClient, session, onSent }: DetailsStepProps) {
  const { regions, defaults } = session;
  const onlyRegion = regions.length === 1 ? regions[0]?.id : undefined;
  const initialRegion = regions.some((region) => region.id === defaults.region) ? defaults.region : (onlyRegion ?? '');
  const [problems, setProblems] = useState<FieldProblems>({});
  const element = useRef<HTMLFormElement>(null);
  const focusFirst = (names: readonly string[]) => {
    const first = FIELDS.find((name) => names.includes(name));
    if (first) element.current?.querySelector<HTMLElement>(`[name="${first}"]`)?.focus();
  };

  const key = sessionKey(session.sessionId);
  const sending = useMutation({
    mutationFn: (details: LandingDetails) => sendDetails(session.sessionId, details),
    onSuccess: (answer) => {
      queryClient.setQueryData<SessionView>(key, (known) => toView(known, answer));
      onSent();
    },
    onError: (error) => {
      if (!(error instanceof RefusedError)) return undefined;
      // Expired, or completed in another tab or by a request whose answer was lost: the session itself tells which.
      if (error.code !== 'landing.details_invalid') return queryClient.refetchQueries({ queryKey: key });
      const errors = error.errors.filter(({ field }) => isField(field));
      setProblems(Object.fromEntries(errors.map(({ field, message }) => [field, message])));
      return undefined;
    },
  });
  const refusal = sending.error instanceof RefusedError ? sending.error : null;
  const serverFields = refusal?.errors.map(({ field }) => field).join() ?? '';
  useEffect(() => {
    if (serverFields) focusFirst(serverFields.split(','));
  }, [serverFields, sending.submittedAt]);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (sending.isPending) return;
    const details = readForm(event.currentTarget);
    const found = detailsProblems(details, regions);
    setProblems(found);
    if (Object.keys(found).length === 0) sending.mutate(details);
    else focusFirst(Object.keys(found));
  };
  // Nothing is checked on leaving a field: the message would move the button away under the click that left it.
  const field = (name: keyof LandingDetails) => ({
    name,
    required: true,
    withAsterisk: false,
    error: problems[name],
    onChange: () => setProblems((known) => ({ ...known, [name]: undefined })),
  });

  const otherErrors = refusal?.errors.filter(({ field }) => !isField(field)) ?? [];
  return (
    <div className="twoColumns">
      <PurchaseSummary session={session} />
      <section className="card" aria-labelledby="details">
        <form ref={element} noValidate onSubmit={submit}>
          <Stack gap="md">
            <Title order={2} size="h3" id="details">
              Tell us where to set it up
            </Title>
            <Text size="sm" c="dimmed">
              All fields are needed.
            </Text>
            <div className="formGrid">
              <TextInput
                className="wide"
                label="Organisation"
                description="Names your storage in messages from us."
                autoComplete="organization"
                defaultValue={defaults.organisation}
                {...field('organisation')}
              />
              <NativeSelect
                className="wide"
                label="Region"
                description="Where your data is kept. It cannot be changed later on this page."
                data={[
                  ...(onlyRegion ? [] : [{ value: '', label: 'Choose a region', disabled: true }]),
                  ...regions.map(({ id, name }) => ({ value: id, label: name })),
                ]}
                defaultValue={initialRegion}
                {...field('region')}
              />
              <TextInput label="Contact name" autoComplete="name" defaultValue={defaults.contactName} {...field('contactName')} />
              <TextInput
                label="Contact e-mail"
                type="email"
                inputMode="email"
                autoComplete="email"
                defaultValue={defaults.contactEmail}
                {...field('contactEmail')}
              />
              <Text size="sm" c="dimmed" className="wide">
                Why we ask: the marketplace does not always pass on an address, and our operators need one to reach you when your storage
                needs your attention. Never for advertising.
              </Text>
            </div>
            <div role="alert">
              {sending.isError && refusal?.code !== 'landing.already_completed' && (
                <Alert color="red" variant="light" title={refusal ? 'Please check your details' : 'Your details were not sent'}>
                  <Text size="sm">
                    {refusal
                      ? refusal.detail
                      : 'We could not reach the server. What you entered is still here: wait a moment and press the button again.'}
                  </Text>
                  {refusal?.instance && refusal.code !== 'landing.details_invalid' && (
                    <Text size="sm">Reference for support: {refusal.instance}</Text>
                  )}
                  {otherErrors.map(({ field, message }) => (
                    <Text size="sm" key={field}>
                      {message}
                    </Text>
                  ))}
                </Alert>
              )}
            </div>
            <Group justify="flex-end">
              <Button type="submit" size="md" loading={sending.isPending}>
                Set up my storage
              </Button>
            </Group>
          </Stack>
        </form>
      </section>
    </div>
  );
}
