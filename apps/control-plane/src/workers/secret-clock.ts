import type { ProcessContext } from '../processes/context.js';

const DAY_MS = 86_400_000;
/** Days before the end on which a person is told (contract azure §11). */
const WARN_DAYS = [30, 7, 1];
const LOOK_EVERY_MS = 3_600_000;

/** Raises `secret_expiring` thirty, seven and one days before the day on which Azure's client secret ends; Entra sends no reminder. */
export class SecretClock {
  private lookAt = 0;

  constructor(
    private readonly p: ProcessContext,
    /** The first day (UTC) on which the secret is no longer taken; null where nobody wrote it down. */
    private readonly azureExpires: string | null,
  ) {}

  /** Answers how many findings are new. */
  async tick(): Promise<number> {
    const now = this.p.clock.now().getTime();
    if (this.azureExpires === null || now < this.lookAt) return 0;
    this.lookAt = now + LOOK_EVERY_MS;
    const deadline = new Date(`${this.azureExpires}T00:00:00Z`);
    // The nearest one only: a worker that was away tells the newest state once.
    const days = WARN_DAYS.filter((one) => deadline.getTime() - now <= one * DAY_MS).at(-1);
    if (days === undefined) return 0;
    const raised = await this.p.db.ops((tx) =>
      this.p.metering.raiseFinding(tx, {
        kind: 'secret_expiring',
        dedupeKey: `secret_expiring:azure:${this.azureExpires}:${days}`,
        deadline,
        evidence: {
          marketplace: 'azure',
          setting: 'AZURE_CLIENT_SECRET',
          expires: this.azureExpires,
          daysLeft: days,
          remedy: 'berth doctor azure',
        },
      }),
    );
    return raised ? 1 : 0;
  }
}
