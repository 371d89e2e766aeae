import { Anchor, Container, Text } from '@mantine/core';
import type { ReactNode } from 'react';

interface FrameProps {
  readonly supportEmail?: string | undefined;
  readonly children: ReactNode;
}

export function Frame({ supportEmail, children }: FrameProps) {
  return (
    <>
      <header className="header">
        <Container size="md">
          <div className="brand">
            <svg viewBox="0 0 32 32" aria-hidden="true">
              <rect width="32" height="32" rx="8" fill="#0b5c86" />
              <path d="M7 20h18l-2.6 5H9.6zM15 7h2v10h-2zM18.5 9 24 17h-5.5z" fill="#fff" />
            </svg>
            Berth
          </div>
        </Container>
      </header>
      <Container size="md" component="main" pt="xl">
        {children}
      </Container>
      <Container size="md" component="footer">
        <div className="footer">
          <Text size="sm" c="dimmed">
            {supportEmail ? (
              <>
                Need help? Write to{' '}
                <Anchor href={`mailto:${supportEmail}`} inherit underline="always">
                  {supportEmail}
                </Anchor>
                . This page never asks for payment data: the marketplace bills you.
              </>
            ) : (
              'This page never asks for payment data: the marketplace bills you.'
            )}
          </Text>
        </div>
      </Container>
    </>
  );
}
