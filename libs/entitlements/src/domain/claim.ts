/** Where a claim to a purchase stands; the last two are final. */
export const CLAIM_STATES = ['pending', 'approved', 'rejected'] as const;
export type ClaimState = (typeof CLAIM_STATES)[number];

/** What a visit knows of its own claim. */
export interface VisitClaim {
  readonly state: ClaimState;
  readonly askedAt: Date;
  /** Told to the claimant when he is refused. */
  readonly reason: string | null;
}
