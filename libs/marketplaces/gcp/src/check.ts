import { type Check, timeLimited } from '#marketplaces/core';
import { errorText } from '#platform';

export const LINK =
  'A right in IAM is not enough: link the service account in Producer Portal for Procurement, Pub/Sub and Service Control.';

/** Asks one question of the doctor, for at most `timeoutMs`; whatever is not `pass` comes with a remedy. */
export const checker =
  (timeoutMs?: number) =>
  async (name: string, work: () => Promise<string>, remedy: (error: unknown) => string): Promise<Check> => {
    try {
      return { check: name, result: 'pass', detail: await timeLimited(work, timeoutMs) };
    } catch (error) {
      return { check: name, result: 'fail', detail: errorText(error), remedy: remedy(error) };
    }
  };
