import { Button, Group, Stack, Text } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { FocusHeading } from '../ui/focus-heading.js';
import { Frame } from '../ui/frame.js';
import { wordsForAny } from './marketplace-words.js';
import { problemWords } from './problem-words.js';

interface ProblemPageProps {
  readonly code: string | null;
  readonly marketplace: string | null | undefined;
  readonly supportEmail?: string | undefined;
  readonly takesFocus?: boolean;
}

export function ProblemPage({ code, marketplace, supportEmail, takesFocus = false }: ProblemPageProps) {
  const { title, happened, remedy, steps } = problemWords(code, marketplace);
  const { manageUrl, openLabel } = wordsForAny(marketplace);
  useDocumentTitle(`${title} — Berth`);
  return (
    <Frame supportEmail={supportEmail}>
      <div className="card">
        <Stack gap="md">
          <FocusHeading order={1} takesFocus={takesFocus}>
            {title}
          </FocusHeading>
          <Text>{happened}</Text>
          <Text fw={600}>What to do</Text>
          <Text>{remedy}</Text>
          <ol className="remedySteps">
            {steps.map((step) => (
              <li key={step}>{step}</li>
            ))}
          </ol>
          {manageUrl && (
            <Group>
              <Button component="a" href={manageUrl} rel="noreferrer">
                {openLabel}
              </Button>
            </Group>
          )}
          {code && /^[a-z_.]{1,60}$/.test(code) && (
            <Text size="sm" c="dimmed">
              If you write to support, name this code: {code}
            </Text>
          )}
        </Stack>
      </div>
    </Frame>
  );
}
