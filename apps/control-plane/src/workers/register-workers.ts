import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { METRICS, TASKS, type BerthConfig, type Metrics, type PayloadRef, type TaskContext, type TaskRunner, type Tasks } from '#platform';
import { ProvisioningEngine, registerProvisioningHandlers } from '#provisioning/engine';
import { Metering, registerMeteringHandlers } from '#metering';
import { MarketplaceRefusal, type Marketplace } from '#marketplaces/core';
import { ProcessContext } from '../processes/context.js';
import { normaliseInbound } from '../processes/normalise-inbound.js';
import { compareWithMarketplace, concludeDriftRun, rereadDrifted } from '../processes/check-drift.js';
import { approveBuyer } from '../processes/sweep-lost-steps.js';
import { rereadPurchase } from '../processes/reread-purchase.js';
import { sweepOperations } from '../processes/sweep-operations.js';
import { answerChange } from '../processes/answer-change.js';
import { holdUntilStart, makeTenantForActivation, requestPlacement } from '../processes/provision-purchase.js';
import { applyChangedRights, completeFulfillment } from '../processes/complete-fulfillment.js';
import { followSuccession } from '../processes/follow-succession.js';
import { completePurchase } from '../processes/read-missing.js';
import { checkService } from '../processes/check-service.js';
import { beginErasure, eraseData } from '../processes/erase-data.js';
import { runPublisherChange } from '../processes/publisher-change.js';
import { runReconciliation } from '../processes/reconcile.js';
import { rejectPurchase } from '../processes/reject-purchase.js';
import { signUpBuyer } from '../processes/sign-up-buyer.js';
import { readPrivateOffers, wantPrivateOffers } from '../processes/read-private-offers.js';
import { tellBuyer } from '../processes/tell-buyer.js';
import { startPurchase } from '../processes/start-purchase.js';
import { AtRiskClock } from './at-risk-clock.js';
import { JoinClock } from './join-clock.js';
import { ClaimsClock } from './claims-clock.js';
import { ActivationClock } from './activation-clock.js';
import { DriftClock } from './drift-clock.js';
import { ReconciliationClock } from './reconciliation-clock.js';
import { alarmIfAboutUs } from '../processes/refused-credentials.js';
import { whenToRunAgain } from './patience.js';
import { NoticeClock } from './notice-clock.js';
import { DEFAULT_KEEP_PROOFS, PruneClock } from './prune-clock.js';
import { SecretClock, secretsOf } from './secret-clock.js';
import { ServingClock } from './serving-clock.js';
import { StandingClock } from './standing-clock.js';
import { SuspensionClock } from './suspension-clock.js';
import { endAccess, finishPurchase, followSuspension, lookForSuccessor, unbindUsage } from '../processes/end-purchase.js';
import { beginExportCheck, checkExport, purgePlacement } from '../processes/purge-data.js';

type Flow = (p: ProcessContext, payload: never, task: TaskContext) => Promise<void>;

/** Task handlers by name, and which domain event wakes which. One use case each. */
const HANDLERS: Record<string, Flow> = {
  'inbound.normalise': normaliseInbound,
  'change.answer': answerChange,
  'tenant.make': makeTenantForActivation,
  'placement.request': requestPlacement,
  'fulfillment.complete': completeFulfillment,
  'rights.apply': applyChangedRights,
  'suspension.follow': followSuspension,
  'purchase.start': startPurchase,
  'publisher_change.run': runPublisherChange,
  'succession.follow': followSuccession,
  'access.end': endAccess,
  'successor.look': lookForSuccessor,
  'usage.unbind': unbindUsage,
  'purchase.finish': finishPurchase,
  'placement.purge': purgePlacement,
  'export.begin': beginExportCheck,
  'export.check': checkExport,
  'drift.compare': compareWithMarketplace,
  'drift.reread': rereadDrifted,
  'drift.conclude': concludeDriftRun,
  'drift.operations': sweepOperations,
  'purchase.reread': rereadPurchase,
  'buyer.approve': approveBuyer,
  'service.check': checkService,
  'buyer.tell': tellBuyer,
  'start.hold': holdUntilStart,
  'buyer.sign_up': signUpBuyer,
  'purchase.reject': rejectPurchase,
  'purchase.complete': completePurchase,
  'erasure.begin': beginErasure,
  'data.erase': eraseData,
  'private_offers.want': wantPrivateOffers,
  'private_offers.read': readPrivateOffers,
  'reconciliation.run': runReconciliation,
};

const SUBSCRIBED: Record<string, string | readonly string[]> = {
  'subscription.needs_tenant': 'tenant.make',
  'subscription.tenant_bound': 'placement.request',
  'subscription.confirmed': 'placement.request',
  'subscription.scheduled': 'start.hold',
  'subscription.started': 'placement.request',
  'subscription.succession_due': 'succession.follow',
  'placement.active': 'fulfillment.complete',
  'subscription.activated': 'private_offers.want',
  'subscription.renewed': 'private_offers.want',
  'subscription.changed': ['rights.apply', 'private_offers.want'],
  'subscription.suspended': 'suspension.follow',
  'subscription.reinstated': 'suspension.follow',
  'subscription.ended': 'access.end',
  'subscription.voided': 'access.end',
  'placement.access_ended': ['usage.unbind', 'export.begin'],
  'placement.export_closed': 'export.begin',
  'usage.settled': 'purchase.finish',
  'usage.blocked': 'service.check',
  'subscription.data_deletion_due': 'erasure.begin',
};

/** The flows across libs, without the clocks and handlers that the libs bring themselves. */
export function registerFlows(context: ProcessContext, runner: TaskRunner, tasks: Tasks): void {
  for (const [name, flow] of Object.entries(HANDLERS)) {
    runner.register(name, async (payload: PayloadRef, task) => {
      try {
        await flow(context, payload as never, task);
      } catch (error) {
        await alarm(context, error);
        throw whenToRunAgain(error, task.attempt, context.clock);
      }
    });
  }
  for (const [type, handlers] of Object.entries(SUBSCRIBED)) for (const handler of [handlers].flat()) tasks.subscribe(type, handler);
}

/** The code begins with the marketplace's name. */
const alarm = (p: ProcessContext, error: unknown): Promise<unknown> =>
  error instanceof MarketplaceRefusal ? alarmIfAboutUs(p, error.code.split('.')[0] as Marketplace, error) : Promise.resolve();

/** Every process subscribes (an api process publishes too); only a worker's runner claims. */
export function registerWorkers(
  app: NestFastifyApplication,
  runner: TaskRunner,
  config: Pick<BerthConfig, 'driftMinutes' | 'azure'> & Partial<Pick<BerthConfig, 'journalDays' | 'conformanceDays' | 'terraform'>>,
): void {
  const context = app.get(ProcessContext);
  registerFlows(context, runner, app.get<Tasks>(TASKS));
  const engine = app.get(ProvisioningEngine);
  registerProvisioningHandlers(runner, engine);
  const metering = app.get(Metering);
  // In a loop of its own: a cluster that does not answer delays no hour.
  runner.addClock(() => engine.supervise(), 'clusters');
  // Each marketplace is sent to in a loop of its own, woken when an hour has closed.
  registerMeteringHandlers(runner, metering);
  const drift = new DriftClock(context, config.driftMinutes * 60_000);
  runner.addClock(() => drift.tick());
  const reconciliation = new ReconciliationClock(context, app.get<Metrics>(METRICS));
  runner.addClock(() => reconciliation.tick());
  const secrets = new SecretClock(context, secretsOf(config.azure));
  runner.addClock(() => secrets.tick());
  const activations = new ActivationClock(context);
  runner.addClock(() => activations.tick());
  const serving = new ServingClock(context);
  runner.addClock(() => serving.tick());
  const suspensions = new SuspensionClock(context);
  runner.addClock(() => suspensions.tick());
  const standing = new StandingClock(context);
  runner.addClock(() => standing.tick());
  const claims = new ClaimsClock(context, app.get<Metrics>(METRICS));
  runner.addClock(() => claims.tick());
  const atRisk = new AtRiskClock(context, app.get<Metrics>(METRICS));
  runner.addClock(() => atRisk.tick());
  const joins = new JoinClock(context);
  runner.addClock(() => joins.tick());
  const notices = new NoticeClock(context);
  runner.addClock(() => notices.tick());
  const { journalDays, conformanceDays, terraform } = config;
  const prune = new PruneClock(context, journalDays, {
    ...DEFAULT_KEEP_PROOFS,
    ...(conformanceDays === undefined ? {} : { conformanceDays }),
    ...(terraform ? { keepStates: terraform.keepStates, stateDays: terraform.stateDays } : {}),
  });
  runner.addClock(() => prune.tick());
}
