import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ProblemError, sha256Hex, uuidv7, type Clock, type Sealer, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import type { Tenants } from '#tenancy';
import type { PlanGate } from '../domain/plan-version.js';
import type { Catalog } from './catalog.js';
import { isBeneficiary, type SignedInVisitor, type VisitClaim } from '../domain/claim.js';
import type { Subscriptions } from './subscriptions.js';

/** What a buyer fills in. Microsoft's `mail` may be empty and Google sends no address at all: a contact is asked for. */
export const landingDetails = z.object({
  organisation: z.string('is needed').trim().min(2, 'must have 2 to 80 characters').max(80, 'must have 2 to 80 characters'),
  region: z.string('choose a region').trim().min(1, 'choose a region'),
  contactName: z.string('is needed').trim().min(1, 'is needed').max(80, 'must have at most 80 characters'),
  contactEmail: z.email('is not an e-mail address').max(254),
});
export type LandingDetails = z.infer<typeof landingDetails>;

const SESSION_MS = 24 * 3_600_000;
/** What the sealed visitor is bound to. */
export const SIGNED_IN_AS = 'landing.signed-in';

interface SessionRow {
  session_hash: string;
  marketplace: Marketplace;
  subscription_id: string;
  completed_at: Date | null;
  details: string | null;
  expires_at: Date;
  gave_first_details: boolean;
  given: boolean;
  claim_state: VisitClaim['state'] | null;
  claim_asked_at: Date | null;
  claim_reason: string | null;
  signed_in: string | null;
  visitor_hash: string | null;
  /** Who of the same buyer's people gave details first, for this purchase or for another of his. */
  first_visitor_hash: string | null;
}

/**
 * Whose page gets the form and the keys: the first visit that gives the details; none before its claim is approved; or that for
 * the marketplace whose people sign in. Who signed in as the beneficiary is approved by that (ADR 0015).
 */
export type LandingAccess = 'first_visit' | 'signed_in' | 'approval';

export interface LandingSession {
  sessionHash: string;
  marketplace: Marketplace;
  subscriptionId: string;
  completedAt: Date | null;
  /** This visit may be shown secrets: its claim is approved, or the first visit counts and it was the one. */
  hasAccess: boolean;
  /** It gets no further, and sees no more than what was bought, without an approved claim. */
  needsAccess: boolean;
  /** Another visit has given the details. */
  givenElsewhere: boolean;
  claim: VisitClaim | null;
  signedIn: SignedInVisitor | null;
  details: LandingDetails | null;
  expiresAt: Date;
}

/** A visit that carried a valid landing token. The browser holds a random id; the token itself is never given to it again. */
export class Landings {
  constructor(
    private readonly clock: Clock,
    private readonly sealer: Sealer,
    private readonly subscriptions: Subscriptions,
    private readonly catalog: Catalog,
    private readonly tenants: Tenants,
    private readonly access: LandingAccess = 'first_visit',
    private readonly gate: PlanGate | null = null,
  ) {}

  /** `visitor`: who of the buyer's people the marketplace says it is; kept as a hash. */
  async open(tx: Tx, input: { marketplace: Marketplace; token: string; subscriptionId: string; visitor?: string | null }): Promise<string> {
    const sessionId = randomBytes(32).toString('base64url');
    const now = this.clock.now();
    await tx.query(
      `insert into landing_sessions (session_hash, marketplace, token_hash, subscription_id, created_at, expires_at, visitor_hash) values ($1, $2, $3, $4, $5, $6, $7)`,
      [
        sha256Hex(sessionId),
        input.marketplace,
        sha256Hex(input.token),
        input.subscriptionId,
        now,
        new Date(now.getTime() + SESSION_MS),
        input.visitor ? sha256Hex(`${input.marketplace}:${input.visitor}`) : null,
      ],
    );
    return sessionId;
  }

  async find(tx: Tx, sessionId: string): Promise<LandingSession> {
    const [row] = await tx.query<SessionRow>(
      `select s.*, s.completed_at is not null and not exists (
                select 1 from landing_sessions o where o.subscription_id = s.subscription_id
                   and (o.completed_at, o.session_hash) < (s.completed_at, s.session_hash)) as gave_first_details,
              exists (select 1 from landing_sessions o where o.subscription_id = s.subscription_id and o.completed_at is not null) as given,
              (select o.visitor_hash from landing_sessions o join subscriptions b on b.subscription_id = o.subscription_id
                  join subscriptions m on m.marketplace = b.marketplace and m.buyer_account_id = b.buyer_account_id
                where m.subscription_id = s.subscription_id and o.completed_at is not null and o.visitor_hash is not null
                order by o.completed_at, o.session_hash limit 1) as first_visitor_hash,
              c.state as claim_state, c.created_at as claim_asked_at, c.reason as claim_reason
         from landing_sessions s left join claims c using (session_hash) where s.session_hash = $1`,
      [sha256Hex(sessionId)],
    );
    if (!row) throw new ProblemError('not_found', 'landing.session_unknown', 'This page is not known. Open it again from the marketplace.');
    if (row.expires_at <= this.clock.now())
      throw new ProblemError('gone', 'landing.session_expired', 'This page has expired. Open it again from the marketplace.');
    const approved = row.claim_state === 'approved';
    const { visitor_hash: visitor, first_visitor_hash: first } = row;
    // Another person of the buyer's than the one who signed up: the account is his too, the keys are not (contract gcp §1).
    const isAnother = visitor !== null && first !== null && visitor !== first;
    const asked = isAnother || this.access === 'approval' || (this.access === 'signed_in' && row.marketplace === 'azure');
    const isFirstAgain = visitor !== null && visitor === first && row.given;
    return {
      sessionHash: row.session_hash,
      marketplace: row.marketplace,
      subscriptionId: row.subscription_id,
      completedAt: row.completed_at,
      hasAccess: approved || (!asked && (row.gave_first_details || isFirstAgain)),
      needsAccess: asked && !approved,
      givenElsewhere: row.given && row.completed_at === null,
      claim: row.claim_state ? { state: row.claim_state, askedAt: row.claim_asked_at!, reason: row.claim_reason } : null,
      signedIn: row.signed_in ? (JSON.parse(this.sealer.open(row.signed_in, SIGNED_IN_AS)) as SignedInVisitor) : null,
      expiresAt: row.expires_at,
      details: row.details ? (JSON.parse(this.sealer.open(row.details, 'landing.details')) as LandingDetails) : null,
    };
  }

  /**
   * Somebody has signed in, coming from `sessionId`. He gets a visit of his own, and the beneficiary's is let in at once: the visit
   * he came from stays as it was, since whoever sent him its address would see through it.
   */
  async signIn(
    tx: Tx,
    sessionId: string,
    visitor: SignedInVisitor,
  ): Promise<{ sessionId: string; subscriptionId: string; matched: boolean }> {
    const from = await this.find(tx, sessionId);
    const { truth } = await this.subscriptions.get(tx, from.subscriptionId);
    const own = randomBytes(32).toString('base64url');
    const now = this.clock.now();
    await tx.query(
      `insert into landing_sessions (session_hash, marketplace, token_hash, subscription_id, created_at, expires_at, signed_in)
       select $2, marketplace, token_hash, subscription_id, $3, $4, $5 from landing_sessions where session_hash = $1`,
      [
        from.sessionHash,
        sha256Hex(own),
        now,
        new Date(now.getTime() + SESSION_MS),
        this.sealer.seal(JSON.stringify(visitor), SIGNED_IN_AS),
      ],
    );
    const matched = isBeneficiary(visitor, truth.beneficiary);
    if (matched)
      await tx.query(
        `insert into claims (claim_id, subscription_id, session_hash, state, decided_by, reason, created_at, decided_at)
         values ($1, $2, $3, 'approved', 'sign-in', 'signed in as the beneficiary', $4, $4)`,
        [uuidv7(), from.subscriptionId, sha256Hex(own), now],
      );
    return { sessionId: own, subscriptionId: from.subscriptionId, matched };
  }

  /**
   * The completed landing makes the tenant. On a purchase that already has one (auto-activated, or a visit with a token of
   * its own) it sets display name and contact only. A token is good for one completion, however many visits it opened: who
   * presents it again may be somebody else. Throws `landing.details_invalid` with a list of fields, `landing.already_completed`,
   * `landing.access_needed`.
   */
  async complete(tx: Tx, sessionId: string, input: unknown): Promise<{ subscriptionId: string; tenantId: string; created: boolean }> {
    const session = await this.find(tx, sessionId);
    if (session.needsAccess)
      throw new ProblemError(
        'forbidden',
        'landing.access_needed',
        'Ask for access on this page first: the seller checks who sets up a purchase.',
      );
    // Locked in one order: of two submissions at once the second finds the first one's.
    const visits = await tx.query<{ completed_at: Date | null }>(
      `select completed_at from landing_sessions
        where subscription_id = $1 and token_hash = (select token_hash from landing_sessions where session_hash = $2)
        order by session_hash for update`,
      [session.subscriptionId, session.sessionHash],
    );
    if (visits.some((visit) => visit.completed_at))
      throw new ProblemError('conflict', 'landing.already_completed', 'The details of this purchase have been given already.');
    const parsed = landingDetails.safeParse(input);
    const errors = parsed.success ? [] : parsed.error.issues.map((i) => ({ field: i.path.join('.'), message: i.message }));
    // Locked: a renewal that takes over at the same moment is seen, or waits.
    const record =
      (await this.subscriptions.lock(tx, session.subscriptionId)) ?? (await this.subscriptions.get(tx, session.subscriptionId));
    const plan = await this.catalog.get(tx, record.planVersionId!);
    const region = parsed.success ? parsed.data.region : regionOf(input);
    if (region && !plan.regions.some((r) => r.id === region)) errors.push({ field: 'region', message: 'is not offered for this plan' });
    if (!parsed.success || errors.length > 0)
      throw new ProblemError('validation', 'landing.details_invalid', 'Some details are missing or wrong.', { errors });
    if (['closing', 'cancelled', 'voided'].includes(record.state))
      throw new ProblemError('conflict', 'landing.purchase_over', 'This purchase has ended. Buy it again in the marketplace.');
    const details = parsed.data;
    // The words are the buyer's: what is missing there is told to the operators alone.
    const shut = record.tenantId === null ? await this.gate?.(tx, plan, details.region) : null;
    if (shut)
      throw new ProblemError(
        'unprocessable',
        'landing.not_ready',
        'This plan cannot be set up in this region yet. Choose another one, or ask the seller.',
        { gate: shut.rule, region: details.region },
      );
    const created = record.tenantId === null;
    const contact = { name: details.contactName, email: details.contactEmail };
    const tenant = record.tenantId
      ? await this.tenants.describe(tx, record.tenantId, { displayName: details.organisation, contact })
      : await this.tenants.ensureForPurchase(tx, {
          purchaseId: record.subscriptionId,
          displayName: details.organisation,
          region: details.region,
          contact,
        });
    await tx.query('update landing_sessions set details = $2, completed_at = $3 where session_hash = $1', [
      session.sessionHash,
      this.sealer.seal(JSON.stringify(details), 'landing.details'),
      this.clock.now(),
    ]);
    if (created) await this.subscriptions.bindTenant(tx, record.subscriptionId, tenant.tenantId);
    return { subscriptionId: record.subscriptionId, tenantId: tenant.tenantId, created };
  }
}

/** The region of details that are wrong otherwise, so that all faults are told at once. */
function regionOf(input: unknown): string | null {
  const region = (input as { region?: unknown } | null | undefined)?.region;
  return typeof region === 'string' ? region.trim() : null;
}
