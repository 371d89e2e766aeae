import type { BerthConfig } from '#platform';
import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const DAY_MS = 86_400_000;
/** Days before the end on which a person is told (contract azure §11). */
const WARN_DAYS = [30, 7, 1];
const LOOK_EVERY_MS = 3_600_000;

export interface AzureSecret {
  setting: 'AZURE_CLIENT_SECRET' | 'AZURE_SIGN_IN_CLIENT_SECRET';
  /** The first day (UTC) on which it is no longer taken; null where nobody wrote it down. */
  expires: string | null;
}

export const secretsOf = (azure: BerthConfig['azure']): AzureSecret[] => [
  { setting: 'AZURE_CLIENT_SECRET', expires: azure?.clientSecretExpires ?? null },
  { setting: 'AZURE_SIGN_IN_CLIENT_SECRET', expires: azure?.signIn?.clientSecretExpires ?? null },
];

/** Raises `secret_expiring` thirty, seven and one days before the day on which a client secret ends; Entra sends no reminder. */
export class SecretClock extends PacedClock {
  constructor(
    p: ProcessContext,
    private readonly secrets: AzureSecret[],
  ) {
    super(p, LOOK_EVERY_MS);
  }

  protected async look(now: Date): Promise<number> {
    let raised = 0;
    for (const { setting, expires } of this.secrets)
      if (expires !== null && (await this.warn(setting, expires, now.getTime()))) raised += 1;
    return raised;
  }

  private async warn(setting: AzureSecret['setting'], expires: string, now: number): Promise<boolean> {
    const deadline = new Date(`${expires}T00:00:00Z`);
    // The nearest one only: a worker that was away tells the newest state once.
    const days = WARN_DAYS.filter((one) => deadline.getTime() - now <= one * DAY_MS).at(-1);
    if (days === undefined) return false;
    return this.p.db.ops((tx) =>
      this.p.metering.raiseFinding(tx, {
        kind: 'secret_expiring',
        dedupeKey: `secret_expiring:${setting === 'AZURE_CLIENT_SECRET' ? 'azure' : 'azure.sign_in'}:${expires}:${days}`,
        deadline,
        evidence: { marketplace: 'azure', setting, expires, daysLeft: days, remedy: 'berth doctor azure' },
      }),
    );
  }
}
