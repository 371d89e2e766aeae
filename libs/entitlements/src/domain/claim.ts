/** Where a claim to a purchase stands; the last two are final. */
export const CLAIM_STATES = ['pending', 'approved', 'rejected'] as const;
export type ClaimState = (typeof CLAIM_STATES)[number];

/** A person whom an authority has proved. Known by the pair of ids; name and username are for the eye. */
export interface SignedInVisitor {
  readonly personId: string;
  readonly directoryId: string;
  readonly name: string | null;
  readonly username: string | null;
}

/** The person the purchase was made for: both ids, however they are spelled. Never by address: whoever owns a domain can write any. */
export function isBeneficiary(
  visitor: Pick<SignedInVisitor, 'personId' | 'directoryId'>,
  beneficiary: { personId: string | null; directoryId: string | null } | null | undefined,
): boolean {
  const same = (a: string, b: string | null | undefined): boolean => a !== '' && a.toLowerCase() === b?.toLowerCase();
  return same(visitor.personId, beneficiary?.personId) && same(visitor.directoryId, beneficiary?.directoryId);
}

/** What a visit knows of its own claim. */
export interface VisitClaim {
  readonly state: ClaimState;
  readonly askedAt: Date;
  /** Told to the claimant when he is refused. */
  readonly reason: string | null;
}
