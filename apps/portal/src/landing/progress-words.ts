import type { LandingSession } from '../api/client.js';
import { marketplaceWords } from './marketplace-words.js';

// Buyers buy capacity and an endpoint. What it is made of is an operator's business.
const operatorsWords = /\b(cluster|cell|placement|node|pod|shard|tenant|driver|terraform)s?\b/i;

const phases: Readonly<Record<string, string>> = {
  requested: 'Checking your order',
  queued: 'Checking your order',
  preflight: 'Checking your order',
  planned: 'Checking your order',
  approval: 'Checking your order',
  provisioning: 'Reserving your capacity',
  configuring: 'Creating your storage and its keys',
  validating: 'Testing your endpoint',
};

export function phaseTitle(session: LandingSession): string {
  const { name } = marketplaceWords(session.marketplace);
  if (session.state === 'awaiting_marketplace') return `Waiting for ${name}`;
  if (session.state === 'activating') return `Confirming your purchase with ${name}`;
  return phases[session.progress?.phase ?? ''] ?? 'Preparing your storage';
}

/** A text of the server, or nothing where it speaks of things that a buyer never bought. */
export function buyersText(text: string | null | undefined): string | null {
  return text && !operatorsWords.test(text) ? text : null;
}

export function formatElapsed(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
