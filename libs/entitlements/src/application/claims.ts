import { z } from 'zod';
import { ProblemError, uuidv7, type Clock, type Sealer, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import type { ClaimState, SignedInVisitor } from '../domain/claim.js';
import { SIGNED_IN_AS, type LandingSession } from './landings.js';
import type { Page, PageQuery } from './read-models.js';

/** Who asks, in his own words: nothing of it is proved. */
export const claimantDetails = z.object({
  name: z.string('is needed').trim().min(1, 'is needed').max(80, 'must have at most 80 characters'),
  email: z.email('is not an e-mail address').max(254),
  message: z.string().trim().max(500, 'must have at most 500 characters').default(''),
});
export type Claimant = z.infer<typeof claimantDetails>;

export interface ClaimView {
  readonly claimId: string;
  readonly subscriptionId: string;
  readonly marketplace: Marketplace;
  readonly state: ClaimState;
  /** Null once the buyer was erased. */
  readonly claimant: Claimant | null;
  /** Proved by the authority, where the visitor signed in; not the beneficiary, or no claim were needed. */
  readonly signedIn: (SignedInVisitor & { readonly sameDirectory: boolean }) | null;
  readonly beneficiaryEmail: string | null;
  readonly reason: string | null;
  readonly decidedBy: string | null;
  readonly createdAt: Date;
  readonly decidedAt: Date | null;
  /** Until then an approval reaches the page that asked. */
  readonly visitEndsAt: Date;
}

/** A visit waits this long for its answer, and stays open this long after an approval. */
const WAITS_MS = 7 * 86_400_000;
const OPEN_MS = 86_400_000;
/** Of one purchase at once: more would only bury the true one. */
const MOST_PENDING = 5;
const SEALED_AS = 'claim.claimant';

interface Row extends Record<string, unknown> {
  claim_id: string;
  subscription_id: string;
  marketplace: Marketplace;
  session_hash: string;
  state: ClaimState;
  claimant: string | null;
  beneficiary_email: string | null;
  beneficiary_directory: string | null;
  signed_in: string | null;
  reason: string | null;
  decided_by: string | null;
  created_at: Date;
  decided_at: Date | null;
  expires_at: Date;
}

const SELECT = `select c.*, l.marketplace, l.expires_at, l.signed_in, s.truth->'beneficiary'->>'email' as beneficiary_email,
    s.truth->'beneficiary'->>'directoryId' as beneficiary_directory
  from claims c join landing_sessions l using (session_hash) join subscriptions s on s.subscription_id = c.subscription_id`;

/**
 * Claims to a purchase (architecture §5.4): a landing token alone makes nobody a tenant's admin. A visit asks, an operator decides
 * once, and the answer holds for that visit.
 */
export class Claims {
  constructor(
    private readonly clock: Clock,
    private readonly sealer: Sealer,
  ) {}

  /**
   * The visit asks for access. Asking twice is asking once. Throws `claim.details_invalid` with a list of fields,
   * `claim.not_needed`, `claim.rejected`, `claim.too_many`.
   */
  async ask(tx: Tx, session: LandingSession, input: unknown): Promise<void> {
    // One at a time for a purchase: the count below holds, and a doubled click finds the first one's row.
    await tx.query(`select pg_advisory_xact_lock(hashtextextended('claims:' || $1, 0))`, [session.subscriptionId]);
    const parsed = claimantDetails.safeParse(input ?? {});
    if (!parsed.success)
      throw new ProblemError('validation', 'claim.details_invalid', 'Some details are missing or wrong.', {
        errors: parsed.error.issues.map((i) => ({ field: i.path.join('.'), message: i.message })),
      });
    const [known] = await tx.query<{ state: ClaimState }>('select state from claims where session_hash = $1', [session.sessionHash]);
    if (known?.state === 'pending') return;
    if (known?.state === 'rejected') throw new ProblemError('conflict', 'claim.rejected', 'The seller has declined this request.');
    if (session.hasAccess) throw new ProblemError('conflict', 'claim.not_needed', 'This page has access to the purchase already.');
    const [{ pending } = { pending: 0 }] = await tx.query<{ pending: number }>(
      `select count(*)::int as pending from claims where subscription_id = $1 and state = 'pending'`,
      [session.subscriptionId],
    );
    if (pending >= MOST_PENDING)
      throw new ProblemError('conflict', 'claim.too_many', 'Others have asked for this purchase already. Wait until they are answered.');
    const now = this.clock.now();
    await tx.query(
      `insert into claims (claim_id, subscription_id, session_hash, state, claimant, created_at) values ($1, $2, $3, 'pending', $4, $5)`,
      [uuidv7(), session.subscriptionId, session.sessionHash, this.sealer.seal(JSON.stringify(parsed.data), SEALED_AS), now],
    );
    await this.keepOpen(tx, session.sessionHash, WAITS_MS);
  }

  /**
   * An operator's word, final for that visit. An approval shows the purchase, its form and its keys to the page that asked.
   * Throws `claim.not_found`, `claim.decided`, `claim.visit_expired`.
   */
  async decide(
    tx: Tx,
    claimId: string,
    decision: { approve: boolean; decidedBy: string; reason: string | null },
  ): Promise<{ claim: ClaimView; tenantId: string | null }> {
    const [found] = await tx.query<{ state: ClaimState; expires_at: Date; session_hash: string; tenant_id: string | null }>(
      `select c.state, l.expires_at, c.session_hash, s.tenant_id from claims c join landing_sessions l using (session_hash)
         join subscriptions s on s.subscription_id = c.subscription_id where c.claim_id = $1 for update of c`,
      [claimId],
    );
    if (!found) throw new ProblemError('not_found', 'claim.not_found', 'There is no such claim.');
    if (found.state !== 'pending') throw new ProblemError('conflict', 'claim.decided', `This claim was ${found.state} already.`);
    if (decision.approve && found.expires_at <= this.clock.now())
      throw new ProblemError(
        'conflict',
        'claim.visit_expired',
        'The page that asked has timed out, so an approval would reach nobody. Reject it; the buyer asks again from the marketplace.',
      );
    await tx.query('update claims set state = $2, decided_by = $3, reason = $4, decided_at = $5 where claim_id = $1', [
      claimId,
      decision.approve ? 'approved' : 'rejected',
      decision.decidedBy,
      decision.reason,
      this.clock.now(),
    ]);
    if (decision.approve) await this.keepOpen(tx, found.session_hash, OPEN_MS);
    const [row] = await tx.query<Row>(`${SELECT} where c.claim_id = $1`, [claimId]);
    return { claim: this.view(row!), tenantId: found.tenant_id };
  }

  /** Oldest first: who waits longest is answered first. */
  async list(tx: Tx, filter: { state: ClaimState | null; subscriptionId: string | null }, q: PageQuery): Promise<Page<ClaimView>> {
    const rows = await tx.query<Row>(
      `${SELECT} where ($1::text is null or c.state = $1) and ($2::uuid is null or c.subscription_id = $2) and ($3::uuid is null or c.claim_id > $3)
        order by c.claim_id limit $4`,
      [filter.state, filter.subscriptionId, q.after, q.limit + 1],
    );
    const items = rows.slice(0, q.limit);
    return { items: items.map((row) => this.view(row)), nextCursor: rows.length > q.limit ? items.at(-1)!.claim_id : null };
  }

  /** How many wait for an operator on visits that an approval would still reach, and since when the oldest. */
  async waiting(tx: Tx): Promise<{ pending: number; oldestAt: Date | null }> {
    const [row] = await tx.query<{ pending: number; oldest_at: Date | null }>(
      `select count(*)::int as pending, min(c.created_at) as oldest_at
         from claims c join landing_sessions l using (session_hash) where c.state = 'pending' and l.expires_at > $1`,
      [this.clock.now()],
    );
    return { pending: row?.pending ?? 0, oldestAt: row?.oldest_at ?? null };
  }

  private async keepOpen(tx: Tx, sessionHash: string, ms: number): Promise<void> {
    await tx.query('update landing_sessions set expires_at = greatest(expires_at, $2) where session_hash = $1', [
      sessionHash,
      new Date(this.clock.now().getTime() + ms),
    ]);
  }

  private view(row: Row): ClaimView {
    const visitor = row.signed_in ? (JSON.parse(this.sealer.open(row.signed_in, SIGNED_IN_AS)) as SignedInVisitor) : null;
    return {
      claimId: row.claim_id,
      subscriptionId: row.subscription_id,
      marketplace: row.marketplace,
      state: row.state,
      claimant: row.claimant ? (JSON.parse(this.sealer.open(row.claimant, SEALED_AS)) as Claimant) : null,
      signedIn: visitor && { ...visitor, sameDirectory: visitor.directoryId === row.beneficiary_directory?.toLowerCase() },
      beneficiaryEmail: row.beneficiary_email,
      reason: row.reason,
      decidedBy: row.decided_by,
      createdAt: row.created_at,
      decidedAt: row.decided_at,
      visitEndsAt: row.expires_at,
    };
  }
}
