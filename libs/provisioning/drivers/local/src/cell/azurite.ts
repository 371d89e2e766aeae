/**
 * Azurite 3.35.0 (blob) inside the cell's own process.
 *
 * Why inside: it learns accounts and keys only from `AZURITE_ACCOUNTS`, re-read by its account store. As a child
 * that means a restart (1.2 s of queued requests) for each key rotation; here the variable is set and the store is
 * re-read at once. There is no second process that could linger, stored bytes are read from its tables (with the
 * blocks not yet committed), and its metadata is saved soon after a write instead of after 5 s.
 * It listens on a unix socket in a 0700 folder, not on a port: nobody passes the meter by calling it directly.
 *
 * The price is that we touch internals. `start()` therefore proves at boot what it leans on, and throws if a
 * release has moved it. The version is pinned by the lock file.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { AZURITE_VERSION } from '../version.js';

interface LokiCollection {
  readonly data: readonly Record<string, unknown>[];
  findAndRemove(query: object): void;
  findOne(query: object): Record<string, unknown> | null;
}
interface Loki {
  getCollection(name: string): LokiCollection | null;
  saveDatabase(done: (error?: unknown) => void): void;
}
interface BlobServer {
  readonly metadataStore: { readonly db: Loki };
  readonly extentMetadataStore: { readonly db: Loki };
  readonly accountDataStore: { refresh(): void; getAccount(name: string): unknown };
  start(): Promise<void>;
  close(): Promise<void>;
}
type Authenticate = (context: unknown, request: { getHeader(name: string): string | undefined }, ...rest: unknown[]) => Promise<boolean>;

/** Header by which the gateway recognises its own transfer in the hook; never taken from a client. */
export const TRANSFER_HEADER = 'x-berth-transfer';

/** An account as Azurite shall know it; one or two keys. */
export interface AzuriteAccount {
  readonly name: string;
  readonly secrets: readonly string[];
}

const TABLES = ['$BLOBS_COLLECTION$', '$BLOCKS_COLLECTION$', '$CONTAINERS_COLLECTION$', '$SERVICES_COLLECTION$'] as const;
/** With no account at all Azurite falls back to the well-known development account; this one is never routed to. */
const INTERNAL: AzuriteAccount = { name: 'berthinternal', secrets: [randomBytes(64).toString('base64')] };

export class AzuriteStore {
  private server!: BlobServer;
  private saveTimer: NodeJS.Timeout | undefined;
  private saving: Promise<void> = Promise.resolve();
  private lastSaveMs = 0;

  /** `onAuthorised` is told the transfer id as soon as Azurite has accepted a request's signature. */
  constructor(
    private readonly folder: string,
    readonly socketPath: string,
    private readonly onAuthorised: (transferId: string) => void,
    private readonly saveAfterMs: number,
  ) {}

  async start(): Promise<void> {
    const require = createRequire(import.meta.url);
    const part = (path: string): { default: unknown } & Record<string, unknown> => require(`azurite/dist/src/${path}`) as never;
    if ((require('azurite/package.json') as { version: string }).version !== AZURITE_VERSION)
      throw new Error(`this cell was made for Azurite ${AZURITE_VERSION}`);
    (part('common/Telemetry').AzuriteTelemetryClient as { enableTelemetry: boolean }).enableTelemetry = false;
    (part('common/Logger').configLogger as (on: boolean) => void)(false);

    const factory = part('blob/middlewares/AuthenticationMiddlewareFactory').default as { prototype: { authenticate: Authenticate } };
    const authenticate = factory.prototype.authenticate;
    if (typeof authenticate !== 'function') throw new Error('Azurite has no authenticate hook');
    const { onAuthorised } = this;
    factory.prototype.authenticate = async function (this: unknown, context, request, ...rest) {
      const pass = await authenticate.call(this, context, request, ...rest);
      const transfer = pass ? request.getHeader(TRANSFER_HEADER) : undefined;
      if (transfer) onAuthorised(transfer);
      return pass;
    };

    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    rmSync(this.socketPath, { force: true });
    const Configuration = part('blob/BlobConfiguration').default as new (...args: unknown[]) => unknown;
    const Server = part('blob/BlobServer').default as new (configuration: unknown) => BlobServer;
    const configuration = new Configuration(
      undefined,
      this.socketPath,
      60,
      join(this.folder, 'blobs.json'),
      join(this.folder, 'extents.json'),
      [{ locationId: 'Default', locationPath: join(this.folder, 'extents'), maxConcurrency: 50 }],
      false,
      undefined,
      false,
      undefined,
      /* loose */ true,
      /* skipApiVersionCheck */ true,
      '',
      '',
      '',
      undefined,
      /* disableProductStyleUrl */ true,
    );
    this.setEnvironment([]);
    this.server = new Server(configuration);
    await this.server.start();
    for (const table of TABLES) if (!this.server.metadataStore.db.getCollection(table)) throw new Error(`Azurite has no table ${table}`);
    this.setAccounts([]);
  }

  /** In force when this returns. */
  setAccounts(accounts: readonly AzuriteAccount[]): void {
    this.setEnvironment(accounts);
    this.server.accountDataStore.refresh();
    const missing = [INTERNAL, ...accounts].find((a) => !this.server.accountDataStore.getAccount(a.name));
    if (missing) throw new Error(`Azurite did not take account ${missing.name}`);
  }

  /**
   * Logical bytes per account: blobs and snapshots at full length, and blocks that are staged but not committed.
   * Never `du`: extents of deleted blobs linger until Azurite collects them (contract provisioning §4.6).
   */
  storedBytes(): Map<string, bigint> {
    const sums = new Map<string, number>();
    const add = (name: unknown, bytes: unknown): void => {
      if (typeof bytes === 'number') sums.set(name as string, (sums.get(name as string) ?? 0) + bytes);
    };
    for (const blob of this.table('$BLOBS_COLLECTION$').data)
      add(blob.accountName, (blob.properties as { contentLength?: number }).contentLength);
    for (const block of this.table('$BLOCKS_COLLECTION$').data) if (block.isCommitted !== true) add(block.accountName, block.size);
    return new Map([...sums].map(([name, bytes]) => [name, BigInt(bytes)]));
  }

  /** Length of one blob; 0 when there is none. */
  blobLength(accountName: string, containerName: string, name: string, snapshot: string): number {
    const blob = this.table('$BLOBS_COLLECTION$').findOne({ accountName, containerName, name, snapshot });
    return (blob?.properties as { contentLength?: number } | undefined)?.contentLength ?? 0;
  }

  /** Forgets everything of an account; the extents follow when Azurite next collects garbage (10 minutes). */
  async purge(accountName: string): Promise<void> {
    for (const table of TABLES) this.table(table).findAndRemove({ accountName });
    await this.save();
  }

  /** Saves the metadata soon: not more often than the release says, and not more than a twentieth of the time on large tables. */
  requestSave(): void {
    if (this.saveTimer) return;
    this.saveTimer = setTimeout(
      () => {
        this.saveTimer = undefined;
        void this.save();
      },
      Math.max(this.saveAfterMs, this.lastSaveMs * 20),
    ).unref();
  }

  async save(): Promise<void> {
    const one = (db: Loki): Promise<void> =>
      new Promise((resolve, reject) =>
        db.saveDatabase((error) => (error ? reject(error instanceof Error ? error : new Error(String(error))) : resolve())),
      );
    this.saving = this.saving
      .then(async () => {
        const began = performance.now();
        // Extents first: metadata that names an unknown extent is a blob that cannot be read.
        await one(this.server.extentMetadataStore.db);
        await one(this.server.metadataStore.db);
        this.lastSaveMs = performance.now() - began;
      })
      .catch((error: unknown) => console.error('saving blob metadata failed', error));
    await this.saving;
  }

  async stop(): Promise<void> {
    clearTimeout(this.saveTimer);
    await this.save();
    await this.server.close();
    rmSync(this.socketPath, { force: true });
  }

  private setEnvironment(accounts: readonly AzuriteAccount[]): void {
    // Azurite reads its accounts from nowhere else.
    // eslint-disable-next-line no-restricted-properties
    process.env.AZURITE_ACCOUNTS = [INTERNAL, ...accounts].map((a) => [a.name, ...a.secrets].join(':')).join(';');
  }

  private table(name: (typeof TABLES)[number]): LokiCollection {
    return this.server.metadataStore.db.getCollection(name)!;
  }
}
