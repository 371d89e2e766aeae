/** What can be known before anything is made: the program, the way back to the state, and the nodes' own checks. */
import { DriverError, type ClusterSpec, type DriverCall, type PreflightCheck, type PreflightReport } from '#provisioning/core';
import type { TerraformDriverOptions } from './options.js';
import type { BinaryFinder } from './run/binary.js';

const ANSWER_MS = 3_000;

export async function preflight(
  call: DriverCall,
  spec: ClusterSpec,
  binary: BinaryFinder,
  options: Pick<TerraformDriverOptions, 'nodes' | 'backendUrl'>,
): Promise<PreflightReport> {
  const own = await Promise.all([program(binary), stateBackend(options.backendUrl)]);
  const nodes = (await options.nodes.preflight(call, spec)).output?.checks ?? [];
  const checks = [...own, ...nodes];
  return { checks, ok: checks.every((c) => c.result !== 'fail' && c.result !== 'unknown') };
}

async function program(binary: BinaryFinder): Promise<PreflightCheck> {
  try {
    const { product, version, path } = await binary.find();
    return { name: 'program', result: 'pass', detail: `${product} ${version} at ${path}` };
  } catch (error) {
    return { name: 'program', result: 'fail', detail: error instanceof DriverError ? error.detail : String(error) };
  }
}

/** Without a credential the backend must refuse; anything else is not ours. */
async function stateBackend(url: () => string): Promise<PreflightCheck> {
  const name = 'state_backend';
  try {
    const { status } = await fetch(`${url()}/preflight`, { signal: AbortSignal.timeout(ANSWER_MS), redirect: 'error' });
    return status === 401
      ? { name, result: 'pass', detail: 'the state backend answers, and to nobody without a credential' }
      : { name, result: 'fail', detail: `the state backend answered ${status} to a stranger, not 401` };
  } catch (error) {
    return {
      name,
      result: 'unknown',
      detail: `the state backend could not be reached: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}
