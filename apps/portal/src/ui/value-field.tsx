import { Button, Group, Text } from '@mantine/core';
import { useId, useState } from 'react';
import { CopyButton } from './copy-button.js';

interface ValueFieldProps {
  readonly label: string;
  readonly value: string;
  readonly secret?: boolean;
  /** The reader has seen or copied the value. */
  readonly onSeen?: () => void;
}

export function ValueField({ label, value, secret = false, onSeen }: ValueFieldProps) {
  const [shown, setShown] = useState(!secret);
  const labelId = useId();
  const toggle = () => {
    setShown(!shown);
    if (!shown) onSeen?.();
  };
  return (
    <div role="group" aria-labelledby={labelId}>
      <Text size="sm" fw={600} id={labelId} mb={4}>
        {label}
      </Text>
      <div className="secret">
        <code>{shown ? value : <span aria-label="hidden">••••••••••••••••</span>}</code>
        <Group gap={6} wrap="nowrap">
          {secret && (
            <Button size="xs" variant="default" miw={62} onClick={toggle} aria-label={`${shown ? 'Hide' : 'Show'} ${label}`}>
              {shown ? 'Hide' : 'Show'}
            </Button>
          )}
          <CopyButton text={value} what={label} onCopied={onSeen} />
        </Group>
      </div>
    </div>
  );
}
