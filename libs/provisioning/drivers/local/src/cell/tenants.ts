/**
 * The last known desired configuration, on disk: the cell enforces it after its own restart, without a control plane.
 * Names: a *listed* placement is in the desired list; a *closed* one is not, and its data is still here.
 */
import { randomBytes } from 'node:crypto';
import type { DesiredPlacement, LastSample } from '#provisioning/core';
import { readJson, writeJsonAtomic } from '../files.js';
import type { CellConfigureRequest, ClockTarget, DesiredFile, IngestTarget } from '../wire.js';
import type { AzuriteAccount } from './azurite.js';

const EMPTY: DesiredFile = { generation: null, ingest: null, clock: null, placements: [], accounts: {}, lastSamples: {} };
/** A probe that nobody has ended goes away by itself. */
const PROBE_MS = 60_000;
const LONGEST_PROBE_MS = 600_000;

/** What the gateway does with a request to an account name. */
export type Door =
  | { readonly kind: 'open'; readonly accountName: string; readonly placement: DesiredPlacement | null }
  | { readonly kind: 'disabled' }
  | { readonly kind: 'unknown' };

interface Probe {
  readonly secretBase64: string;
  readonly until: number;
}

export class Tenants {
  private file: DesiredFile;
  private byName = new Map<string, Door>();
  private readonly probes = new Map<string, Probe>();

  constructor(private readonly path: string) {
    this.file = { ...EMPTY, ...readJson<DesiredFile>(path) };
    this.index();
  }

  get desired(): DesiredFile {
    return this.file;
  }

  door(accountName: string): Door {
    const probe = this.probes.get(accountName);
    if (probe && probe.until > performance.now()) return { kind: 'open', accountName, placement: null };
    return this.byName.get(accountName) ?? { kind: 'unknown' };
  }

  listed(placementId: string): DesiredPlacement | undefined {
    return this.file.placements.find((p) => p.placementId === placementId);
  }

  /** Replaces the list. Purged ids are forgotten here; their data is the caller's. */
  configure(request: CellConfigureRequest): void {
    const accounts = { ...this.file.accounts };
    for (const p of request.placements) accounts[p.placementId] = p.accountName;
    for (const id of request.purge) delete accounts[id];
    const lastSamples = Object.fromEntries(
      Object.entries(this.file.lastSamples).filter(
        ([id]) => accounts[id] !== undefined && request.placements.find((p) => p.placementId === id)?.state !== 'active',
      ),
    );
    this.put({
      generation: request.generation,
      ingest: request.ingest,
      clock: request.clock,
      placements: request.placements,
      accounts,
      lastSamples,
    });
  }

  connect(ingest: IngestTarget | null, clock: ClockTarget | null): void {
    this.put({ ...this.file, ingest, clock });
  }

  setState(placementId: string, state: DesiredPlacement['state']): void {
    const lastSamples = { ...this.file.lastSamples };
    if (state === 'active') delete lastSamples[placementId];
    this.put({
      ...this.file,
      placements: this.file.placements.map((p) => (p.placementId === placementId ? { ...p, state } : p)),
      lastSamples,
    });
  }

  keepLastSample(sample: LastSample): void {
    this.put({ ...this.file, lastSamples: { ...this.file.lastSamples, [sample.placementId]: sample } });
  }

  /** Names of probes that nobody has ended; what they stored goes with them. */
  expiredProbes(): string[] {
    return [...this.probes].filter(([, probe]) => probe.until <= performance.now()).map(([name]) => name);
  }

  addProbe(lifeMs = PROBE_MS): { accountName: string; secretBase64: string } {
    const accountName = `probe${randomBytes(8).toString('hex')}`;
    const secretBase64 = randomBytes(64).toString('base64');
    this.probes.set(accountName, { secretBase64, until: performance.now() + Math.min(Math.max(lifeMs, 1_000), LONGEST_PROBE_MS) });
    return { accountName, secretBase64 };
  }

  removeProbe(accountName: string): boolean {
    return this.probes.delete(accountName);
  }

  /** Only who may come in now: a suspended or closed name is unknown to Azurite itself, so no batch sub-request reaches it. */
  azuriteAccounts(): AzuriteAccount[] {
    const open = this.file.placements
      .filter((p) => p.state === 'active')
      .map((p) => ({ name: p.accountName, secrets: p.keys.map((k) => k.secretBase64) }));
    return [...open, ...[...this.probes].map(([name, probe]) => ({ name, secrets: [probe.secretBase64] }))];
  }

  private put(file: DesiredFile): void {
    writeJsonAtomic(this.path, file);
    this.file = file;
    this.index();
  }

  private index(): void {
    this.byName = new Map(Object.values(this.file.accounts).map((name) => [name, { kind: 'disabled' }]));
    for (const p of this.file.placements)
      this.byName.set(
        p.accountName,
        p.state === 'active' ? { kind: 'open', accountName: p.accountName, placement: p } : { kind: 'disabled' },
      );
  }
}
