import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createLogger, OffsetClock, projectRoot, toPublicId, type Logger } from '#platform';
import type { Marketplace, UsageTraits } from '#marketplaces/core';
import { AWS_USAGE } from '#marketplaces/aws';
import { AZURE_USAGE } from '#marketplaces/azure';
import { gcpUsage } from '#marketplaces/gcp';
import { Catalog } from '#entitlements';
import { billingDiff, checkJournal, ledgerHash, replayJournal, writeJournal, type JournalHeader, type Replayed } from '#metering';
import { openEmpty, openInstallation, type OpenedDatabase } from './databases.js';
import { readLines, writeLines } from './journal-file.js';

type Env = Record<string, string | undefined>;
export interface Wish {
  command: 'journal' | 'ledger-hash' | 'replay' | 'billing-diff';
  out?: string;
  from?: string;
  into?: string;
  catalog?: string;
}
/** A line for a person who waits. */
export type Tell = (text: string) => void;

/** What this build knows of the marketplaces: constants, no adapter. A replay has nothing that could send. */
const TRAITS: Record<Marketplace, UsageTraits> = { azure: AZURE_USAGE, aws: AWS_USAGE, gcp: gcpUsage(true) };

const build = (): string =>
  `berth ${(JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')) as { version: string }).version}`;
const logger = (): Logger => createLogger('replay', 'silent');
const about = ({ build: by, from, to, catalogHash, leftOut }: JournalHeader): Record<string, unknown> => ({
  build: by,
  from: instant(from),
  to: instant(to),
  catalogHash,
  leftOut,
});
const instant = (us: string | null): string | null => (us === null ? null : new Date(Number(BigInt(us) / 1_000n)).toISOString());

/** Does what is wished and answers it for `berth` to print. Expected refusals are `ProblemError` and `ConfigError`. */
export function perform(wish: Wish, env: Env, tell: Tell): Promise<Record<string, unknown>> {
  switch (wish.command) {
    case 'journal':
      return withDatabase(openInstallation(env), (of) => journal(of, wish.out ?? '', tell));
    case 'ledger-hash':
      return withDatabase(openInstallation(env), async ({ db }) => ({
        ledgerHash: await db.ops(async (tx) => {
          await tx.query('set transaction isolation level repeatable read, read only');
          await tx.query('set local statement_timeout = 0');
          return ledgerHash(tx);
        }),
      }));
    case 'replay':
      return replay(wish.from ?? '', wish.into ?? null, env, tell);
    case 'billing-diff':
      return diff(wish.from ?? '', wish.into ?? null, wish.catalog ?? null, env, tell);
  }
}

async function withDatabase<T>(opening: Promise<OpenedDatabase>, work: (of: OpenedDatabase) => Promise<T>): Promise<T> {
  const of = await opening;
  try {
    return await work(of);
  } finally {
    await of.close();
  }
}

async function journal({ db }: OpenedDatabase, out: string, tell: Tell): Promise<Record<string, unknown>> {
  let written: Awaited<ReturnType<typeof writeJournal>> | undefined;
  await writeLines(out, async (put) => {
    written = await db.ops((tx) => writeJournal(tx, build(), put, (lines) => tell(`${lines} lines written`)));
  });
  const { header, footer } = written!;
  return { out, ...about(header), lines: footer.lines, sha256: footer.sha256, ledgerHash: footer.ledgerHash };
}

const purchase = (id: string): string => toPublicId('sub', id);
const said = (r: Replayed): Replayed => ({ ...r, different: r.different.map(purchase) });

const progress = (tell: Tell) => ({
  told: (lines: number, hour: string): void => tell(`line ${lines}, hour ${hour.slice(0, 16)}Z`),
});

async function replay(from: string, into: string | null, env: Env, tell: Tell): Promise<Record<string, unknown>> {
  tell('looking whether the journal is whole');
  const { header, footer } = await checkJournal(readLines(from));
  return withDatabase(openEmpty(into, env), async ({ db }) => {
    const replayed = await replayJournal(readLines(from), { db, traits: TRAITS, logger: logger(), ...progress(tell) });
    return { ...about(header), journalHash: footer.ledgerHash, ...said(replayed), equal: replayed.ledgerHash === footer.ledgerHash };
  });
}

async function diff(from: string, into: string | null, catalog: string | null, env: Env, tell: Tell): Promise<Record<string, unknown>> {
  // First what can be wrong at once.
  const plans = catalog === null ? undefined : new Catalog(new OffsetClock()).readFolder(resolve(catalog));
  tell('looking whether the journal is whole');
  const { header, footer } = await checkJournal(readLines(from));
  return withDatabase(openEmpty(into, env), async ({ db }) => {
    const found = await billingDiff(() => readLines(from), {
      db,
      traits: TRAITS,
      logger: logger(),
      ...progress(tell),
      ...(plans ? { catalog: plans } : {}),
    });
    return {
      ...about(header),
      journalHash: footer.ledgerHash,
      with: catalog,
      ...found,
      changes: found.changes.map((c) => ({
        ...c,
        subscriptionId: purchase(c.subscriptionId),
        segmentId: toPublicId('seg', c.segmentId),
        hour: instant(c.hour),
      })),
      replayed: said(found.replayed),
    };
  });
}
