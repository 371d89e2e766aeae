import { Alert, Button, Group, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useMutation, type QueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { RefusedError, sendClaim, type LandingClaim, type LandingSession } from '../api/client.js';
import { sessionKey, toView, type SessionView } from './use-landing-session.js';

interface AccessFormProps {
  readonly queryClient: QueryClient;
  readonly session: LandingSession;
  /** What the button says. */
  readonly wish: string;
}

type Problems = Readonly<Partial<Record<string, string>>>;

/** Asks the seller to let this visit in, and tells how that stands. */
export function AccessForm({ queryClient, session, wish }: AccessFormProps) {
  const { access, support } = session;
  const [problems, setProblems] = useState<Problems>({});
  const key = sessionKey(session.sessionId);
  const sending = useMutation({
    mutationFn: (claim: LandingClaim) => sendClaim(session.sessionId, claim),
    onSuccess: (answer) => queryClient.setQueryData<SessionView>(key, (known) => toView(known, answer)),
    onError: (error) => {
      if (!(error instanceof RefusedError)) return undefined;
      if (error.code !== 'claim.details_invalid' && error.code !== 'claim.too_many') return queryClient.refetchQueries({ queryKey: key });
      setProblems(Object.fromEntries(error.errors.map(({ field, message }) => [field, message])));
      return undefined;
    },
  });
  if (access.state === 'pending') {
    return (
      <Alert color="harbour" variant="light" title="Your request is with the seller" role="status">
        <Text size="sm">
          They check that this purchase is yours; this page goes on by itself once they have answered. You can leave it open, or come back
          to this address within seven days. If it is urgent, write to {support.email} and give the reference {support.reference}.
        </Text>
      </Alert>
    );
  }
  if (access.state === 'rejected') {
    return (
      <Alert color="red" variant="light" title="The seller has declined your request" role="status">
        {access.reason && <Text size="sm">They say: {access.reason}</Text>}
        <Text size="sm">
          If you think that this is a mistake, write to {support.email} and give the reference {support.reference}.
        </Text>
      </Alert>
    );
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (sending.isPending) return;
    const values = new FormData(event.currentTarget);
    const text = (name: string): string => String(values.get(name) ?? '').trim();
    const claim = { name: text('name'), email: text('email'), message: text('message') };
    const found: Problems = {
      ...(claim.name ? {} : { name: 'is needed' }),
      ...(/^\S+@\S+\.\S+$/.test(claim.email) ? {} : { email: claim.email ? 'is not an e-mail address' : 'is needed' }),
    };
    setProblems(found);
    const [first] = Object.keys(found);
    if (first) event.currentTarget.querySelector<HTMLElement>(`[name="${first}"]`)?.focus();
    else sending.mutate(claim);
  };
  const field = (name: keyof LandingClaim) => ({
    name,
    error: problems[name],
    onChange: () => setProblems((known) => ({ ...known, [name]: undefined })),
  });
  const refusal = sending.error instanceof RefusedError ? sending.error : null;
  return (
    <form noValidate onSubmit={submit}>
      <Stack gap="md">
        <TextInput label="Your name" autoComplete="name" {...field('name')} />
        <TextInput
          label="Your e-mail"
          type="email"
          inputMode="email"
          autoComplete="email"
          description="The seller may write to it to check who you are."
          {...field('email')}
        />
        <Textarea
          label="Message to the seller (optional)"
          description="What helps them to know you: your role, who bought it."
          autosize
          minRows={2}
          maxLength={500}
          {...field('message')}
        />
        <div role="alert">
          {sending.isError && refusal?.code !== 'claim.details_invalid' && (
            <Alert color="red" variant="light" title="Your request was not sent">
              <Text size="sm">
                {refusal
                  ? refusal.detail
                  : 'We could not reach the server. What you entered is still here: wait a moment and press the button again.'}
              </Text>
            </Alert>
          )}
        </div>
        <Group justify="flex-end">
          <Button type="submit" loading={sending.isPending}>
            {wish}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
