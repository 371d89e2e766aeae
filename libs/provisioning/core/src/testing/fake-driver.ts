/**
 * A driver without any machine behind it, for tests of the engine. It passes the same conformance suite as the real
 * ones. `write` and `read` are its data path: what a buyer does through the endpoint.
 */
import type { Clock } from '#platform';
import {
  assertApplicable,
  assertConfiguration,
  assertDeleteConfirmed,
  assertGeneration,
  assertSpec,
  assertVersion,
  canonicalJson,
  DriverError,
  MemoryOperationStore,
  OperationBook,
  planHash,
  readResult,
  type ApplyOutcome,
  type ApplyRequest,
  type ClusterObservation,
  type ClusterSpec,
  type ConfigureOutcome,
  type DeleteOutcome,
  type DeleteRequest,
  type DesiredConfiguration,
  type DriverCall,
  type DriverCapabilities,
  type DriverPlan,
  type DriverResult,
  type FleetCall,
  type InventoryReport,
  type PreflightReport,
  type ProbeAccess,
  type ProvisioningDriver,
  type ResumeRequest,
  type SuspendOutcome,
  type SuspendRequest,
  type ValidationReport,
} from '../index.js';
import { FAKE_CAPABILITIES, FakeFleet, type FakeCluster } from './fake-fleet.js';

export class FakeDriver extends FakeFleet implements ProvisioningDriver {
  private readonly book: OperationBook;

  constructor(clock: Clock) {
    super(clock);
    this.book = new OperationBook(new MemoryOperationStore(), clock);
  }

  capabilities(): DriverCapabilities {
    return FAKE_CAPABILITIES;
  }

  async preflight(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<PreflightReport>> {
    assertSpec(spec, FAKE_CAPABILITIES);
    return readResult(call.operationId, { checks: [{ name: 'room', result: 'pass', detail: 'There is always room.' }], ok: true });
  }

  async plan(call: DriverCall, wanted: ClusterSpec): Promise<DriverResult<DriverPlan>> {
    assertSpec(wanted, FAKE_CAPABILITIES);
    const current = this.clusters.get(call.clusterRef);
    const spec = { ...wanted, version: wanted.version ?? current?.spec.version ?? null };
    const replace = current !== undefined && current.spec.region !== spec.region;
    const changed = current !== undefined && canonicalJson(current.spec) !== canonicalJson(spec);
    const artefact = canonicalJson({ spec, replace });
    const stateSerial = current?.serial ?? 0;
    return readResult(call.operationId, {
      hash: planHash(artefact, stateSerial),
      artefact,
      stateSerial,
      create: current ? 0 : 1,
      update: changed && !replace ? 1 : 0,
      replace: replace ? 1 : 0,
      delete: 0,
      destructive: replace,
      destroys: replace ? [call.clusterRef] : [],
      cost: { amountPerHour: '0', currency: 'USD' },
      expiresAt: new Date(this.clock.now().getTime() + 3_600_000).toISOString(),
    });
  }

  apply(call: DriverCall, request: ApplyRequest): Promise<DriverResult<ApplyOutcome>> {
    const check = (): void => {
      if (planHash(request.plan.artefact, request.plan.stateSerial) !== request.plan.hash)
        throw new DriverError('validation', 'plan.tampered', 'The hash is not that of the artefact.');
      assertApplicable(request, this.clusters.get(call.clusterRef)?.serial ?? 0, this.clock.now());
    };
    return this.book.run(call, 'apply', request, check, (steps) =>
      steps.step('make', async () => {
        const { spec, replace } = JSON.parse(request.plan.artefact) as { spec: ClusterSpec; replace: boolean };
        const old = this.clusters.get(call.clusterRef);
        const next: FakeCluster =
          old && !replace
            ? { ...old, spec, serial: old.serial + 1 }
            : {
                externalId: call.clusterRef,
                ref: call.clusterRef,
                spec,
                serial: (old?.serial ?? 0) + 1,
                generation: null,
                managed: true,
                broken: false,
                placements: new Map(),
                accounts: new Map(),
                data: new Map(),
              };
        this.clusters.set(call.clusterRef, next);
        return { stateSerial: next.serial, nodes: [`${call.clusterRef}-1`] };
      }),
    );
  }

  configure(call: DriverCall, desired: DesiredConfiguration): Promise<DriverResult<ConfigureOutcome>> {
    const check = (): void => {
      assertConfiguration(desired, FAKE_CAPABILITIES.maxPlacements);
      assertGeneration(this.must(call.clusterRef).generation, call.generation);
    };
    return this.book.run(call, 'configure', { desired, generation: call.generation }, check, (steps) =>
      steps.step('configure', async () => {
        const c = this.must(call.clusterRef);
        assertGeneration(c.generation, call.generation);
        const before = [...c.placements.values()].filter((p) => p.state === 'active');
        c.placements = new Map(desired.placements.map((p) => [p.placementId, p]));
        for (const p of desired.placements) c.accounts.set(p.placementId, p.accountName);
        c.generation = call.generation;
        const ended = before.filter((p) => c.placements.get(p.placementId)?.state !== 'active');
        for (const id of desired.purge) {
          c.data.delete(id);
          c.accounts.delete(id);
        }
        return {
          generation: call.generation,
          endpoints: desired.placements.map((p) => ({
            placementId: p.placementId,
            accountName: p.accountName,
            endpoint: this.endpoint(c, p),
          })),
          lastSamples: ended.map((p) => this.lastSample(p.placementId)),
          purged: [...desired.purge],
        };
      }),
    );
  }

  validate(call: DriverCall): Promise<DriverResult<ValidationReport>> {
    return this.book.run(
      call,
      'validate',
      {},
      () => void this.must(call.clusterRef),
      async () => {
        const result = this.must(call.clusterRef).broken ? ('fail' as const) : ('pass' as const);
        return { result, evidence: [{ check: 'write_read_delete', result, detail: 'probe', ms: 0 }] };
      },
    );
  }

  async openProbe(call: DriverCall): Promise<DriverResult<ProbeAccess>> {
    this.must(call.clusterRef);
    this.openProbes.add(this.probe.accountName);
    return readResult(call.operationId, this.probe);
  }

  async closeProbe(call: DriverCall, request: { readonly accountName: string }): Promise<DriverResult> {
    this.openProbes.delete(request.accountName);
    return readResult(call.operationId, undefined);
  }

  suspend(call: DriverCall, request: SuspendRequest): Promise<DriverResult<SuspendOutcome>> {
    if (request.kind !== 'access') throw new DriverError('unsupported', 'suspend.kind', 'Only access.');
    return this.book.run(
      call,
      'suspend',
      request,
      () => void this.placement(call, request.placementId),
      async () => {
        const [c, p] = this.placement(call, request.placementId);
        c.placements.set(p.placementId, { ...p, state: 'suspended' });
        return { lastSample: this.lastSample(p.placementId) };
      },
    );
  }

  resume(call: DriverCall, request: ResumeRequest): Promise<DriverResult> {
    return this.book.run(
      call,
      'resume',
      request,
      () => void this.placement(call, request.placementId),
      async () => {
        const [c, p] = this.placement(call, request.placementId);
        c.placements.set(p.placementId, { ...p, state: 'active' });
        return undefined;
      },
    );
  }

  upgrade(call: DriverCall, request: { readonly version: string }): Promise<DriverResult> {
    const refuse = (): void => {
      this.must(call.clusterRef);
      assertVersion(request.version, FAKE_CAPABILITIES);
    };
    return this.book.run(call, 'upgrade', request, refuse, (steps) =>
      steps.step('restart', async () => {
        const c = this.must(call.clusterRef);
        if (c.spec.version !== request.version)
          this.clusters.set(call.clusterRef, { ...c, serial: c.serial + 1, spec: { ...c.spec, version: request.version } });
        return undefined;
      }),
    );
  }

  delete(call: DriverCall, request: DeleteRequest): Promise<DriverResult<DeleteOutcome>> {
    return this.book.run(
      call,
      'delete',
      request,
      () => assertDeleteConfirmed(call.clusterRef, request.confirm),
      (steps) =>
        steps.step('destroy', async () => {
          this.clusters.delete(call.clusterRef);
          return { survivors: this.items().filter((i) => i.clusterRef === call.clusterRef) };
        }),
    );
  }

  async observe(call: DriverCall): Promise<DriverResult<ClusterObservation>> {
    const c = this.clusters.get(call.clusterRef);
    const listed = new Set(c?.placements.keys() ?? []);
    return readResult(call.operationId, {
      clusterRef: call.clusterRef,
      observedAt: this.clock.now().toISOString(),
      exists: c !== undefined,
      stateSerial: c?.serial ?? 0,
      observedGeneration: c?.generation ?? null,
      health: !c ? 'unknown' : c.broken ? 'down' : 'ok',
      reasons: [],
      version: c ? (c.spec.version ?? '1') : null,
      nodes: c ? [{ name: `${call.clusterRef}-1`, state: c.broken ? 'broken' : 'running' }] : [],
      placements: [...(c?.accounts ?? [])].map(([placementId, accountName]) => ({
        placementId,
        accountName,
        state: listed.has(placementId) ? c!.placements.get(placementId)!.state : 'closed',
        endpoint: `fake://${c!.externalId}/${accountName}`,
        storedBytes: String([...(c!.data.get(placementId)?.values() ?? [])].reduce((sum, v) => sum + Buffer.byteLength(v), 0)),
        counters: { ingressBytes: '0', egressBytes: '0', requests: '0' },
      })),
      metering: null,
    });
  }

  async inventory(call: FleetCall): Promise<DriverResult<InventoryReport>> {
    return readResult(call.operationId, { items: this.items() });
  }

  import(call: DriverCall, request: { readonly externalId: string }): Promise<DriverResult> {
    return this.book.run(
      call,
      'import',
      request,
      () => void this.found(request.externalId),
      async () => {
        const [key, c] = this.found(request.externalId);
        this.clusters.delete(key);
        this.clusters.set(call.clusterRef, { ...c, ref: call.clusterRef, managed: true });
        return undefined;
      },
    );
  }

  release(call: DriverCall): Promise<DriverResult> {
    return this.book.run(
      call,
      'release',
      {},
      () => void this.must(call.clusterRef),
      async () => {
        this.must(call.clusterRef).managed = false;
        return undefined;
      },
    );
  }

  cancel(call: DriverCall, handle: string): Promise<DriverResult> {
    return this.book.cancel(call, handle);
  }
}
