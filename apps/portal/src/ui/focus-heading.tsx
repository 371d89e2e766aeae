import { Title } from '@mantine/core';
import { useEffect, useRef, type ReactNode } from 'react';

interface FocusHeadingProps {
  /** Takes the focus when it appears, so that a keyboard or screen reader user follows the page's change. */
  readonly takesFocus: boolean;
  readonly order?: 1 | 2;
  readonly children: ReactNode;
}

export function FocusHeading({ takesFocus, order = 2, children }: FocusHeadingProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (takesFocus) heading.current?.focus();
  }, [takesFocus]);
  return (
    <Title ref={heading} order={order} size={order === 1 ? 'h2' : 'h3'} tabIndex={-1}>
      {children}
    </Title>
  );
}
