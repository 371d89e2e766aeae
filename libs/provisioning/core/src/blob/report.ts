/** What a run of the Blob suite says of an endpoint: rule by rule, with what was seen on the wire. */

/** How a client may prove who it is. */
export type SignInMode = 'shared_key' | 'sas' | 'oauth';

/** What an endpoint is, for whoever connects to it. Part of what a placement shows. */
export interface EndpointDescription {
  /** For example `azure-blob`. */
  readonly protocol: string;
  readonly signInModes: readonly SignInMode[];
}

/** Where the suite works: an account of its own that no meter reads. */
export interface ProbeAccess {
  /** Base URL of the account, without a trailing slash. */
  readonly endpoint: string;
  readonly accountName: string;
  /** A secret: never stored, never logged. */
  readonly secretBase64: string;
}

/**
 * `not_supported`: the endpoint says that it does not know the operation (501). `unknown`: nobody could judge, because no answer
 * came or the rule could not be set up; it never promotes. `out_of_contract`: not asked for and never executed.
 */
export type RuleOutcome = 'pass' | 'fail' | 'not_supported' | 'unknown' | 'out_of_contract';

/** One request of a rule, and what came back. No keys, no signatures, no contents. */
export interface WireEvidence {
  /** For example `PUT ?comp=block`. */
  readonly request: string;
  /** Null when no answer came. */
  readonly status: number | null;
  /** `x-ms-error-code`, or the code of the body. */
  readonly errorCode: string | null;
  /** Those headers of the answer that clients read. */
  readonly headers: Readonly<Record<string, string>>;
  /** Real milliseconds. */
  readonly ms: number;
}

export interface RuleReport {
  readonly rule: string;
  /** What the contract asks for, in one sentence. */
  readonly asks: string;
  /** True when the suite cannot pass without it. */
  readonly required: boolean;
  readonly outcome: RuleOutcome;
  /** Why it is not a pass. */
  readonly detail: string | null;
  readonly evidence: readonly WireEvidence[];
}

export type SuiteResult = 'pass' | 'fail' | 'not_supported' | 'unknown';

export interface SuiteReport {
  readonly suite: string;
  readonly suiteVersion: string;
  readonly result: SuiteResult;
  /** Rules that the endpoint lacks and that are not required, by name. */
  readonly lacking: readonly string[];
  readonly rules: readonly RuleReport[];
  /** False when the container of the run could not be removed. */
  readonly cleanedUp: boolean;
}

/** The worst counts: a fail over an unknown over a required thing that is lacking. */
export function judgeRules(rules: readonly Pick<RuleReport, 'outcome' | 'required'>[]): SuiteResult {
  const judged = rules.filter((r) => r.outcome !== 'out_of_contract');
  if (judged.some((r) => r.outcome === 'fail')) return 'fail';
  // Nothing judged is nothing known.
  if (judged.length === 0 || judged.some((r) => r.outcome === 'unknown')) return 'unknown';
  return judged.some((r) => r.required && r.outcome === 'not_supported') ? 'not_supported' : 'pass';
}
