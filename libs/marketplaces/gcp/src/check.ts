import { errorText } from '#platform';

/** One question of the doctor with its answer; whatever is not `pass` comes with a remedy. */
export interface Check {
  check: string;
  result: 'pass' | 'warn' | 'fail' | 'unknown';
  detail: string;
  remedy?: string;
}

export const LINK =
  'A right in IAM is not enough: link the service account in Producer Portal for Procurement, Pub/Sub and Service Control.';

export async function check(name: string, work: () => Promise<string>, remedy: (error: unknown) => string): Promise<Check> {
  try {
    return { check: name, result: 'pass', detail: await work() };
  } catch (error) {
    return { check: name, result: 'fail', detail: errorText(error), remedy: remedy(error) };
  }
}
