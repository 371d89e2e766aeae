import type { ProcessContext } from '../processes/context.js';

const DAY_MS = 86_400_000;
const WARN_MS = 30 * DAY_MS;
const LOOK_EVERY_MS = 3_600_000;

/** Raises `secret_expiring` thirty days before the day on which Azure's client secret ends; Entra sends no reminder. */
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
    if (deadline.getTime() - now > WARN_MS) return 0;
    const raised = await this.p.db.ops((tx) =>
      this.p.metering.raiseFinding(tx, {
        kind: 'secret_expiring',
        dedupeKey: `secret_expiring:azure:${this.azureExpires}`,
        deadline,
        evidence: { marketplace: 'azure', setting: 'AZURE_CLIENT_SECRET', expires: this.azureExpires, remedy: 'berth doctor azure' },
      }),
    );
    return raised ? 1 : 0;
  }
}
