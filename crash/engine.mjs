// The provisioning part of the control plane, from the build: the engine, its drivers and its ledger on a database.
import pino from 'pino';
import { openDatabase, OffsetClock, Sealer, SilentNudger, Tasks } from '../dist/libs/platform/src/index.js';
import { makeDrivers } from '../dist/apps/control-plane/src/drivers.js';
import { ProvisioningEngine } from '../dist/libs/provisioning/engine/src/index.js';

/** Real milliseconds. Leases are short here, so that a take-over takes a second and not a minute. */
export const LEASE_MS = 1_000;
/** A task's lease is longer than the longest run of its handler. */
export const TASK_LEASE_MS = 2_000;
const TIMES = { leaseMs: LEASE_MS, superviseMs: 500, acknowledgePollMs: 200, acknowledgeWithinMs: 1, patienceMs: 300, runMs: 500 };

/** `given`: {url, secret, dataDir}. Nothing is reconciled by this alone. */
export async function openEngine(given, { ownUrl = () => 'http://127.0.0.1:9', policy = {}, log = 'warn', poolSize = 6 } = {}) {
  const logger = pino({ level: log }, pino.destination(2));
  const clock = new OffsetClock();
  const db = await openDatabase({ adminUrl: given.url, secret: given.secret, poolSize, assertions: true });
  const sealer = new Sealer(given.secret);
  const tasks = new Tasks(clock, new SilentNudger());
  const config = {
    dataDir: given.dataDir,
    sandboxUrl: null,
    terraform: { binary: null, searchPath: process.env.PATH ?? '', providerMirror: null, maxCells: 16 },
  };
  const drivers = makeDrivers(config, { clock, db, sealer, logger, ownUrl, usageTarget: () => Promise.resolve(null) });
  const engine = new ProvisioningEngine({
    db,
    tasks,
    clock,
    sealer,
    logger,
    drivers: drivers.byName,
    issueCellKey: (_tx, clusterId) => Promise.resolve(`key-of-${clusterId}`),
    ingestUrl: () => null,
    placementPolicy: policy,
    times: TIMES,
    retry: { attempts: 20, baseDelayMs: 100, maxDelayMs: 1_000 },
  });
  return { db, clock, sealer, tasks, logger, drivers, engine };
}
