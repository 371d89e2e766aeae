/** One cell: gateway, Azurite, journal, samples and the admin port, put together. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Server } from 'node:http';
import type { LastSample } from '#provisioning/core';
import { cellPaths, clockToken, processStartTicks, removeSocketFolder, socketFolder, writeJsonAtomic } from '../files.js';
import type { CellConfigureAnswer, CellConfigureRequest, CellFile, CellStatus, ClockTarget, IngestTarget, PidFile } from '../wire.js';
import { CellRefusal, createAdmin, type CellControl } from './admin.js';
import { AzuriteStore } from './azurite.js';
import { BusinessClock, isLoopback } from './business-clock.js';
import { Gateway } from './gateway.js';
import { Journal } from './journal.js';
import { Poster } from './poster.js';
import { QuotaGate } from './quota.js';
import { Sampler } from './sampler.js';
import { meteringOf, statusOf } from './status.js';
import { Tenants } from './tenants.js';
import type { CellRelease } from '../version.js';

/** Events of one placement's sample and its watermark. */
const EVENTS_PER_SAMPLE = 5;

export class Cell implements CellControl {
  ready = false;
  private readonly paths: ReturnType<typeof cellPaths>;
  private readonly gateway = new Gateway();
  private readonly admin: Server;
  private readonly clockOf: BusinessClock;
  private tenants!: Tenants;
  private journal!: Journal;
  private store!: AzuriteStore;
  private quota!: QuotaGate;
  private poster!: Poster;
  private sampler!: Sampler;
  /** The clock was set and its due samples are not taken yet. */
  private jumped = false;
  private lane: Promise<unknown> = Promise.resolve();
  private stopping: Promise<void> | undefined;

  constructor(
    private readonly folder: string,
    private readonly file: CellFile,
    private readonly release: CellRelease,
    private readonly onStopped: () => void,
  ) {
    this.paths = cellPaths(folder);
    this.admin = createAdmin(file, this);
    this.clockOf = new BusinessClock(this.paths.clock, {
      name: `cell:${file.cellId}`,
      url: `http://127.0.0.1:${file.adminPort}/clock`,
      token: clockToken(file.nonce),
    });
  }

  async start(): Promise<void> {
    // The ports are the mutex: a second process of this cell ends here, before it touches a file.
    await this.gateway.listen(this.file.gatewayPort);
    await new Promise<void>((resolve, reject) => this.admin.once('error', reject).listen(this.file.adminPort, '127.0.0.1', resolve));
    const { cellId, nonce, gatewayPort, adminPort } = this.file;
    writeJsonAtomic(this.paths.pid, {
      pid: process.pid,
      startTicks: processStartTicks(process.pid),
      cellId,
      nonce,
      gatewayPort,
      adminPort,
    } satisfies PidFile);

    this.tenants = new Tenants(this.paths.desired);
    this.assertDevelopmentOnly(this.tenants.desired.ingest, this.tenants.desired.clock);
    // The owner's offset comes before anything that reads business time.
    await this.clockOf.follow(this.tenants.desired.clock);
    this.journal = new Journal(this.paths.journal);
    const sockets = socketFolder(this.folder);
    rmSync(sockets, { recursive: true, force: true });
    mkdirSync(sockets, { mode: 0o700 });
    this.store = new AzuriteStore(this.paths.blobs, join(sockets, 'blob'), (id) => this.gateway.authorised(id), this.release.saveAfterMs);
    await this.store.start();
    this.store.setAccounts(this.tenants.azuriteAccounts());
    this.quota = new QuotaGate(this.store);
    this.poster = new Poster(this.journal, this.paths.refused);
    this.sampler = new Sampler({
      cellId,
      periodMs: this.file.sampleSeconds * 1000,
      now: () => this.clockOf.now(),
      tenants: this.tenants,
      journal: this.journal,
      quota: this.quota,
      flushTransfers: () => this.gateway.flush(),
      onTimer: () => this.onTimer(),
    });
    this.gateway.open({
      tenants: this.tenants,
      journal: this.journal,
      quota: this.quota,
      store: this.store,
      socketPath: this.store.socketPath,
      onWrite: () => this.store.requestSave(),
    });
    this.sampler.arm();
    this.poster.connect(this.tenants.desired.ingest);
    this.ready = true;
  }

  status(): CellStatus {
    this.gateway.flush();
    const { cellId } = this.file;
    return {
      ...statusOf(this.tenants, this.journal, this.quota),
      cellId,
      ready: this.ready,
      version: this.release.version,
      now: this.clockOf.now().toISOString(),
      metering: {
        ...meteringOf(this.journal),
        lastSampleAt: this.sampler.lastSampleAt?.toISOString() ?? null,
        lastError: this.poster.lastError,
      },
    };
  }

  /** Access ends first, then the last sample, then the list changes hands, then data goes. */
  configure(request: CellConfigureRequest): Promise<CellConfigureAnswer> {
    return this.alone(async () => {
      this.assertDevelopmentOnly(request.ingest, request.clock);
      const { desired } = this.tenants;
      if (desired.generation !== null && request.generation < desired.generation) throw new CellRefusal(409, 'driver.generation_stale');
      const names = new Map(Object.entries(desired.accounts).map(([id, name]) => [name, id]));
      if (request.placements.some((p) => (names.get(p.accountName) ?? p.placementId) !== p.placementId))
        throw new CellRefusal(409, 'configure.account_name_taken');
      const ended = desired.placements
        .filter((p) => p.state === 'active' && request.placements.find((n) => n.placementId === p.placementId)?.state !== 'active')
        .map((p) => p.placementId);
      const taken: LastSample[] = [];
      for (const id of ended) taken.push(await this.end(id));
      const purgeNames = request.purge.flatMap((id) => desired.accounts[id] ?? []);
      this.tenants.configure(request);
      this.store.setAccounts(this.tenants.azuriteAccounts());
      for (const sample of taken) if (this.tenants.desired.accounts[sample.placementId]) this.tenants.keepLastSample(sample);
      for (const name of purgeNames) await this.store.purge(name);
      for (const id of request.purge) this.journal.forget(id);
      this.quota.touch();
      await this.clockOf.follow(request.clock);
      this.sampler.arm();
      this.poster.connect(request.ingest);
      if (taken.length > 0) await this.poster.flush();
      return { lastSamples: taken.map((s) => this.acknowledgedNow(s)) };
    });
  }

  connect(ingest: IngestTarget | null, clock: ClockTarget | null): Promise<void> {
    return this.alone(async () => {
      this.assertDevelopmentOnly(ingest, clock);
      this.tenants.connect(ingest, clock);
      await this.clockOf.follow(clock);
      this.sampler.arm();
      this.poster.connect(ingest);
    });
  }

  suspend(placementId: string): Promise<LastSample> {
    return this.alone(async () => {
      const placement = this.mustBeListed(placementId);
      const sample =
        placement.state === 'active'
          ? await this.end(placementId)
          : (this.tenants.desired.lastSamples[placementId] ?? this.sampler.takeLast(placementId));
      this.tenants.keepLastSample(sample);
      await this.poster.flush();
      return this.acknowledgedNow(sample);
    });
  }

  resume(placementId: string): Promise<void> {
    return this.alone(async () => {
      this.mustBeListed(placementId);
      this.tenants.setState(placementId, 'active');
      this.store.setAccounts(this.tenants.azuriteAccounts());
    });
  }

  sampleNow(placementId?: string): Promise<{ at: string; sequence: string; acknowledged: boolean }> {
    return this.alone(async () => {
      if (placementId !== undefined) this.mustBeListed(placementId);
      const at = this.clockOf.now();
      const sequence = this.sampler.take(at, placementId === undefined ? undefined : [placementId]);
      await this.poster.flush();
      const count = EVENTS_PER_SAMPLE * Math.max(1, placementId === undefined ? this.tenants.desired.placements.length : 1);
      return {
        at: at.toISOString(),
        sequence: sequence.toString(),
        acknowledged: this.poster.isAcknowledged(sequence, this.file.cellId, count),
      };
    });
  }

  async addProbe(lifeMs?: number): Promise<{ accountName: string; secretBase64: string }> {
    for (const name of this.tenants.expiredProbes()) await this.removeProbe(name);
    const probe = this.tenants.addProbe(lifeMs);
    this.store.setAccounts(this.tenants.azuriteAccounts());
    return probe;
  }

  async removeProbe(accountName: string): Promise<boolean> {
    if (!this.tenants.removeProbe(accountName)) return false;
    this.store.setAccounts(this.tenants.azuriteAccounts());
    await this.store.purge(accountName);
    this.quota.touch();
    return true;
  }

  /** The participant's side of the clock protocol. */
  async clock(body: { phase?: unknown; offsetMs?: unknown }): Promise<object> {
    if (body.phase === 'set') {
      if (this.clockOf.apply(body.offsetMs)) this.jumped = true;
      return {};
    }
    if (body.phase !== 'settle') throw new CellRefusal(400, 'clock.bad_phase');
    const taken = this.takeDue();
    const posted = await this.poster.flush();
    return { worked: taken > 0 || posted > 0 };
  }

  stop(): void {
    this.stopping ??= this.shutDown().finally(() => this.onStopped());
  }

  private async shutDown(): Promise<void> {
    this.ready = false;
    this.sampler?.stop();
    await this.lane.catch(() => undefined);
    await this.gateway.close();
    this.poster?.stop();
    await this.store?.stop();
    this.journal?.close();
    await this.clockOf.leave();
    removeSocketFolder(this.folder);
    this.admin.close();
    this.admin.closeIdleConnections();
    rmSync(this.paths.pid, { force: true });
  }

  private onTimer(): void {
    if (this.takeDue() > 0) void this.poster.flush();
  }

  private takeDue(): number {
    const { jumped } = this;
    this.jumped = false;
    return this.sampler.takeDue(jumped);
  }

  /** Ends access, lets what is on its way be counted, and takes the last sample. */
  private async end(placementId: string): Promise<LastSample> {
    this.tenants.setState(placementId, 'suspended');
    this.store.setAccounts(this.tenants.azuriteAccounts());
    await this.gateway.cut(new Set([placementId]));
    this.quota.touch();
    return this.sampler.takeLast(placementId);
  }

  private acknowledgedNow(sample: LastSample): LastSample {
    return {
      ...sample,
      acknowledged: sample.sequence !== null && this.poster.isAcknowledged(BigInt(sample.sequence), this.file.cellId, EVENTS_PER_SAMPLE),
    };
  }

  private mustBeListed(placementId: string) {
    const placement = this.tenants.listed(placementId);
    if (!placement) throw new CellRefusal(404, 'placement.not_found');
    return placement;
  }

  /** A clock's owner is for development: with one, every address must be on the loopback interface (guide clock-protocol). */
  private assertDevelopmentOnly(ingest: IngestTarget | null, clock: ClockTarget | null): void {
    if (!clock) return;
    if (!isLoopback(clock.url) || (ingest && !isLoopback(ingest.url))) throw new CellRefusal(400, 'clock.not_loopback');
  }

  /** One change at a time. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.lane.then(work, work);
    this.lane = mine.catch(() => undefined);
    return mine;
  }
}
