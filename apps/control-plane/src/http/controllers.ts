import { ClaimsController } from './api/claims.controller.js';
import { DataExportController } from './api/data-export.controller.js';
import { BuildLimitsController } from './api/build-limits.controller.js';
import { ConformanceController } from './api/conformance.controller.js';
import { DriftController } from './api/drift.controller.js';
import { ExplanationsController } from './api/explanations.controller.js';
import { ExportsController } from './api/exports.controller.js';
import { FinanceController } from './api/finance.controller.js';
import { FindingsController } from './api/findings.controller.js';
import { HealthController } from './api/health.controller.js';
import { InboundController } from './api/inbound.controller.js';
import { MeteringController } from './api/metering.controller.js';
import { OperatorsController } from './api/operators.controller.js';
import { MonthsController } from './api/months.controller.js';
import { ReconciliationsController } from './api/reconciliations.controller.js';
import { RemittancesController } from './api/remittances.controller.js';
import { ClustersController } from './api/clusters.controller.js';
import { ProvisioningController } from './api/provisioning.controller.js';
import { NoticesController } from './api/notices.controller.js';
import { PurchaseJoinsController } from './api/purchase-joins.controller.js';
import { PublisherChangesController } from './api/publisher-changes.controller.js';
import { ManualStepsController } from './api/manual-steps.controller.js';
import { ReadinessController } from './api/readiness.controller.js';
import { TasksController } from './api/tasks.controller.js';
import { TenantsController } from './api/tenants.controller.js';
import { DevClockController } from './dev-clock.controller.js';
import { TerraformStateController } from './drivers/terraform-state.controller.js';
import { LandingController } from './landing/landing.controller.js';
import { SignInController } from './landing/sign-in.controller.js';
import { PortalController } from './landing/portal.controller.js';
import { UsageController } from './usage/usage.controller.js';
import { UsageReportsController } from './api/usage-reports.controller.js';
import { WebhooksController } from './webhooks/webhooks.controller.js';

/** Every route of the control plane. `PortalController` first: its fixed pages stand under the same prefix as landing's parameters. */
export const CONTROLLERS = [
  HealthController,
  PortalController,
  SignInController,
  LandingController,
  WebhooksController,
  DevClockController,
  UsageController,
  TenantsController,
  ClustersController,
  ProvisioningController,
  BuildLimitsController,
  ConformanceController,
  DataExportController,
  ReadinessController,
  ManualStepsController,
  MeteringController,
  ReconciliationsController,
  ExplanationsController,
  FindingsController,
  FinanceController,
  RemittancesController,
  UsageReportsController,
  MonthsController,
  ExportsController,
  OperatorsController,
  InboundController,
  DriftController,
  NoticesController,
  ClaimsController,
  PurchaseJoinsController,
  PublisherChangesController,
  TasksController,
  TerraformStateController,
];
