import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS a browser has no clipboard API.
    const area = document.createElement('textarea');
    area.value = text;
    area.style.position = 'fixed';
    area.style.opacity = '0';
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    return copied;
  }
}

interface CopyButtonProps {
  readonly text: string;
  /** What is copied, for those who hear the page: "Copy key1". */
  readonly what: string;
  readonly onCopied?: (() => void) | undefined;
}

export function CopyButton({ text, what, onCopied }: CopyButtonProps) {
  const [outcome, setOutcome] = useState<'copied' | 'failed' | null>(null);
  useEffect(() => {
    if (!outcome) return undefined;
    const timer = setTimeout(() => setOutcome(null), 2_500);
    return () => clearTimeout(timer);
  }, [outcome]);

  const copy = async () => {
    const trigger = document.activeElement;
    const copied = await copyText(text);
    if (trigger instanceof HTMLElement) trigger.focus();
    setOutcome(copied ? 'copied' : 'failed');
    if (copied) onCopied?.();
  };
  const label = outcome === 'copied' ? 'Copied' : outcome === 'failed' ? 'Copy by hand' : 'Copy';
  return (
    <Button size="xs" variant="default" miw={72} onClick={() => void copy()} aria-label={outcome ? `${label}: ${what}` : `Copy ${what}`}>
      <span aria-live="polite">{label}</span>
    </Button>
  );
}
