/** Desired and planned capacity. A cluster belongs to the operator and has no tenant. */

import type { SignInMode } from './blob/report.js';
import type { Variant } from './variant.js';

/** What a cluster shall be. Amounts are bytes in decimal text. */
export interface ClusterSpec {
  /** One of `capabilities().regions`. Moving to another region replaces the nodes, and with them the data. */
  readonly region: string;
  /** One of `capabilities().shapes[].name`; other shapes are refused before any cost (contract provisioning §3.4). */
  readonly shape: string;
  /** Whole number of nodes, within the shape's bounds. */
  readonly nodes: number;
  /** Software version, or null for the driver's own choice. */
  readonly version: string | null;
  /** Usable capacity reserved, bytes in decimal text; null is "what the shape has". */
  readonly capacityBytes: string | null;
  /** Ownership labels put on everything that is made, so that `inventory` finds it again. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface PreflightCheck {
  readonly name: string;
  /** `unknown` is "could not judge" and never promotes anything (contract provisioning §3.4). */
  readonly result: 'pass' | 'warn' | 'fail' | 'unknown';
  readonly detail: string;
}

export interface PreflightReport {
  readonly checks: readonly PreflightCheck[];
  /** True when no check is `fail` or `unknown`. */
  readonly ok: boolean;
}

/** An hour's price of what a plan leaves running. */
export interface CostRate {
  /** Decimal text, for example `0.42`. */
  readonly amountPerHour: string;
  /** ISO 4217. */
  readonly currency: string;
}

/** A stored, approvable difference between a spec and what is there. */
export interface DriverPlan {
  /** sha256, hex, over artefact and state serial. An approval binds to it. */
  readonly hash: string;
  /** Opaque; given back unchanged to `apply`, which executes exactly this. */
  readonly artefact: string;
  /** Serial of the driver's recorded state the plan was made from; another one at apply is `plan.stale`. */
  readonly stateSerial: number;
  readonly create: number;
  readonly update: number;
  readonly replace: number;
  readonly delete: number;
  /** True when data-bearing nodes are replaced or deleted. */
  readonly destructive: boolean;
  /** Names of the data-bearing nodes that are lost; an approval must name each of them. */
  readonly destroys: readonly string[];
  /** Null when the driver cannot know it. */
  readonly cost: CostRate | null;
  /** RFC 3339, business time; apply after it is `plan.expired`. */
  readonly expiresAt: string;
}

/** A person's consent to lose named nodes, bound to one plan. */
export interface PlanApproval {
  readonly planHash: string;
  readonly names: readonly string[];
}

export interface ApplyRequest {
  readonly plan: DriverPlan;
  readonly approval?: PlanApproval;
}

export interface ApplyOutcome {
  readonly stateSerial: number;
  /** Names of the nodes that now exist. */
  readonly nodes: readonly string[];
}

/**
 * Kinds of identity provider for the data path. A cluster binds a few of each kind for all its tenants (requirements §1.2); sign-in at
 * the control plane takes none of them.
 */
export type IdentityKind = 'active_directory' | 'ldap' | 'nis' | 'local' | 'saml' | 'oidc';

export interface ShapeCapability {
  readonly name: string;
  readonly minNodes: number;
  readonly maxNodes: number;
  /** Usable bytes of one cluster as it is first made, decimal text. Absent: not known, and no room is set aside on it. */
  readonly capacityBytes?: string;
  /** How many providers of a kind one cluster binds; a kind that is absent is not offered. */
  readonly identitySlots?: Readonly<Partial<Record<IdentityKind, number>>>;
}

/** What a driver can do, as data; the engine refuses before it calls. */
export interface DriverCapabilities {
  /** Driver name, for example `local`. */
  readonly driver: string;
  /** What its clusters are, for gates, shapes and rules. */
  readonly variant: Variant;
  readonly regions: readonly string[];
  readonly shapes: readonly ShapeCapability[];
  /** Oldest first. */
  readonly versions: readonly string[];
  readonly resizeUp: boolean;
  readonly resizeDown: boolean;
  readonly upgrade: boolean;
  readonly importExisting: boolean;
  readonly cancel: boolean;
  readonly suspendKinds: readonly SuspendKind[];
  /** How a buyer may sign in at a placement's endpoint. */
  readonly signInModes: readonly SignInMode[];
  /** Whether `openProbe` lets a conformance suite in. */
  readonly probes: boolean;
  /** Data protocols of a placement's endpoint, for example `azure-blob`. */
  readonly protocols: readonly string[];
  /** Largest number of placements on one cluster; null is no limit known. */
  readonly maxPlacements: number | null;
  readonly keyRotation: boolean;
  readonly hardQuota: boolean;
  /** How long each step may take, all its polls together; a step that is left out has the engine's default (contract provisioning §4.3). */
  readonly timeoutsMs?: Readonly<Partial<Record<TimedStep, number>>>;
  /** From an order to the hand-over, where people build it: a first estimate. Absent: machines do, in minutes or an hour. */
  readonly leadHours?: number;
}

/** Steps of the engine, each one call of a driver, polled until it ends. Real milliseconds. */
export type TimedStep = 'preflight' | 'plan' | 'apply' | 'configure' | 'validate' | 'upgrade' | 'delete' | 'sweep';

/** `access`: nobody gets in, data stays. `crypto`: the keys are withdrawn. Nodes are never powered off (contract provisioning §3.4). */
export type SuspendKind = 'access' | 'crypto';
