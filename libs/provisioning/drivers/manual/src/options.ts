import type { Clock, Database } from '#platform';
import type {
  CapacityDriver,
  CostRate,
  ClusterSpec,
  DriverCapabilities,
  ObservingDriver,
  ProbingDriver,
  TenancyDriver,
  CustodyDriver,
  Variant,
} from '#provisioning/core';

/**
 * What stands there once people have built it, and whoever can put it into service, configure its tenants and look at it: other
 * credentials, other pace (contract provisioning §4.2). It is itself a driver, of a place where the hardware is there already.
 */
export interface Site
  extends
    TenancyDriver,
    ProbingDriver,
    Pick<CapacityDriver, 'preflight' | 'plan' | 'apply' | 'delete'>,
    ObservingDriver,
    Pick<CustodyDriver, 'release'> {}

/** One thing that a person does and signs. */
export interface StepTemplate {
  /** snake_case, for example `rack_and_cable`. */
  readonly name: string;
  readonly asks: string;
  /** Who does it: a team or a role, not a person. */
  readonly owner: string;
  /** After the step before it; the first estimate, which whoever does it replaces by a better one. */
  readonly leadHours: number;
  /** Nothing is signed without a paper, a photograph or a ticket. */
  readonly needsEvidence: boolean;
}

export interface StepTemplates {
  readonly build: readonly StepTemplate[];
  readonly change: readonly StepTemplate[];
  readonly remove: readonly StepTemplate[];
}

export interface ManualDriverOptions {
  readonly clock: Clock;
  readonly db: Database;
  readonly site: Site;
  /** Default `odm_edge`. */
  readonly variant?: Variant;
  /** Default: the site's. */
  readonly regions?: readonly string[];
  readonly steps?: StepTemplates;
  readonly costOf?: (spec: ClusterSpec) => CostRate | null;
  /** Real milliseconds between two looks of the engine; default 30 s. */
  readonly lookEveryMs?: number;
}

/** Two weeks of rack and stack (requirements §1.4), and what comes before and after. */
export const ODM_STEPS: StepTemplates = {
  build: [
    {
      name: 'order_hardware',
      asks: 'Order the hardware of the shape; attach the confirmation.',
      owner: 'supply',
      leadHours: 48,
      needsEvidence: true,
    },
    {
      name: 'rack_and_cable',
      asks: 'Rack, power and cable it; attach the check list.',
      owner: 'site',
      leadHours: 336,
      needsEvidence: true,
    },
    {
      name: 'install',
      asks: 'Install the software and replace its default credentials.',
      owner: 'field',
      leadHours: 24,
      needsEvidence: false,
    },
    {
      name: 'hand_over',
      asks: 'Look at it once more and hand it over to the control plane.',
      owner: 'field',
      leadHours: 4,
      needsEvidence: false,
    },
  ],
  change: [
    {
      name: 'change_hardware',
      asks: 'Bring it to the new size; attach the check list.',
      owner: 'site',
      leadHours: 120,
      needsEvidence: true,
    },
    {
      name: 'hand_over',
      asks: 'Look at it once more and hand it over to the control plane.',
      owner: 'field',
      leadHours: 4,
      needsEvidence: false,
    },
  ],
  remove: [
    { name: 'wipe', asks: 'Wipe the disks; attach the certificate.', owner: 'site', leadHours: 24, needsEvidence: true },
    {
      name: 'take_out',
      asks: 'Take it out of the rack and give the ports and addresses back.',
      owner: 'site',
      leadHours: 72,
      needsEvidence: false,
    },
  ],
};

const DAY_MS = 86_400_000;
/** People take weeks; the engine must not lose patience with them (contract provisioning §4.3: days for `manual`). */
export const MANUAL_TIMEOUTS_MS = { apply: 90 * DAY_MS, delete: 90 * DAY_MS } as const;

export function capabilitiesOf(
  options: Pick<ManualDriverOptions, 'site' | 'variant' | 'regions'> & { steps: StepTemplates },
): DriverCapabilities {
  const of = options.site.capabilities();
  return {
    ...of,
    driver: 'manual',
    variant: options.variant ?? 'odm_edge',
    regions: options.regions ?? of.regions,
    upgrade: false,
    importExisting: false,
    cancel: true,
    leadHours: options.steps.build.reduce((sum, s) => sum + s.leadHours, 0),
    ...{ timeoutsMs: MANUAL_TIMEOUTS_MS },
  };
}
