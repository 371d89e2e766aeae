/**
 * The Blob suite: the calls that AzCopy makes, by the real SDK, against one endpoint (contract provisioning §4.6, requirements
 * §1.10). Loaded on demand: it brings the SDK along.
 */
import { randomBytes } from 'node:crypto';
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { judgeRules, type EndpointDescription, type ProbeAccess, type RuleReport, type SuiteReport } from './report.js';
import { RuleBench, verdictOf, type Rule } from './rule.js';
import { BLOCK_RULES } from './rules-blocks.js';
import { COPY_RULES } from './rules-copy.js';
import { OBJECT_RULES } from './rules-objects.js';
import { REFUSAL_RULES } from './rules-refusals.js';
import { AZCOPY_SUITE } from './suite-name.js';
import { NoAnswer, reasonOf, Wire } from './wire.js';

const RULES: readonly Rule[] = [...OBJECT_RULES, ...BLOCK_RULES, ...COPY_RULES, ...REFUSAL_RULES];

/** Decided: not built on speculation (requirements §1.10). */
const APPEND_BLOB: RuleReport = {
  rule: 'append_blob',
  asks: 'Append blobs are no part of this contract.',
  required: false,
  outcome: 'out_of_contract',
  detail: 'never executed',
  evidence: [],
};

export interface SuiteOptions {
  readonly access: ProbeAccess;
  readonly description: EndpointDescription;
  /** Real time. */
  readonly now: () => Date;
  /** For each call, real milliseconds. Default 10 s. */
  readonly callTimeoutMs?: number;
  /** For one rule, real milliseconds. Default 45 s. */
  readonly ruleTimeoutMs?: number;
  /** For all of it, real milliseconds: rules that are not begun by then are unknown. Default: no limit. */
  readonly runTimeoutMs?: number;
  /** Before each rule, and once at the end: for people who wait. */
  readonly onProgress?: (at: { readonly step: number; readonly of: number; readonly rule: string | null }) => Promise<void> | void;
}

/** Works in a container of its own and removes it. Never throws for what the endpoint does: that is the report. */
export async function runBlobSuite(options: SuiteOptions): Promise<SuiteReport> {
  const { access, callTimeoutMs = 10_000 } = options;
  const containerName = `berth-probe-${randomBytes(8).toString('hex')}`;
  const wire = new Wire(callTimeoutMs);
  const container = new BlobServiceClient(
    access.endpoint,
    wire.pipeline(new StorageSharedKeyCredential(access.accountName, access.secretBase64)),
  ).getContainerClient(containerName);

  const rules: RuleReport[] = [];
  let cleanedUp = true;
  const unready = await container.create().then(
    () => null,
    (error: unknown) => `the container of the run could not be made: ${reasonOf(error)}`,
  );
  const until = performance.now() + (options.runTimeoutMs ?? Infinity);
  for (const rule of RULES) {
    const { name, asks, required } = rule;
    await options.onProgress?.({ step: rules.length, of: RULES.length, rule: name });
    const left = until - performance.now();
    const notBegun = unready ?? (left <= 0 ? 'the time of the run was over before it' : null);
    if (notBegun) {
      rules.push({ rule: name, asks, required, outcome: 'unknown', detail: notBegun, evidence: rules.length === 0 ? wire.notes : [] });
      continue;
    }
    const bench = new RuleBench(access, options.description, containerName, options.now, callTimeoutMs, name);
    rules.push(await judge(rule, bench, Math.min(options.ruleTimeoutMs ?? 45_000, left)));
  }
  // Also when making it had no answer: it may be there all the same.
  await container.deleteIfExists().catch(() => (cleanedUp = unready !== null));
  await options.onProgress?.({ step: RULES.length, of: RULES.length, rule: null });
  rules.push(APPEND_BLOB);
  return {
    suite: AZCOPY_SUITE.name,
    suiteVersion: AZCOPY_SUITE.version,
    result: judgeRules(rules),
    lacking: rules.filter((r) => r.outcome === 'not_supported' && !r.required).map((r) => r.rule),
    rules,
    cleanedUp,
  };
}

async function judge(rule: Rule, at: RuleBench, ruleTimeoutMs: number): Promise<RuleReport> {
  const { name, asks, required } = rule;
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(`the rule was not through within ${Math.round(ruleTimeoutMs)} ms`)), ruleTimeoutMs);
  });
  try {
    await Promise.race([rule.run(at), tooLong]);
    return { rule: name, asks, required, outcome: 'pass', detail: null, evidence: [...at.wire.notes] };
  } catch (error) {
    return { rule: name, asks, required, ...verdictOf(error), evidence: [...at.wire.notes] };
  } finally {
    clearTimeout(timer);
  }
}
