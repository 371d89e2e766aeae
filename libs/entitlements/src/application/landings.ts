import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ProblemError, sha256Hex, type Clock, type Sealer, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import type { Tenants } from '#tenancy';
import type { Catalog } from './catalog.js';
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

interface SessionRow {
  session_hash: string;
  marketplace: Marketplace;
  subscription_id: string;
  completed_at: Date | null;
  details: string | null;
  expires_at: Date;
  gave_first_details: boolean;
}

export interface LandingSession {
  sessionHash: string;
  marketplace: Marketplace;
  subscriptionId: string;
  completedAt: Date | null;
  /** Of all visits of the purchase this one gave the details first: only it is shown secrets. */
  gaveFirstDetails: boolean;
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
  ) {}

  async open(tx: Tx, input: { marketplace: Marketplace; token: string; subscriptionId: string }): Promise<string> {
    const sessionId = randomBytes(32).toString('base64url');
    const now = this.clock.now();
    await tx.query(
      `insert into landing_sessions (session_hash, marketplace, token_hash, subscription_id, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)`,
      [sha256Hex(sessionId), input.marketplace, sha256Hex(input.token), input.subscriptionId, now, new Date(now.getTime() + SESSION_MS)],
    );
    return sessionId;
  }

  async find(tx: Tx, sessionId: string): Promise<LandingSession> {
    const [row] = await tx.query<SessionRow>(
      `select s.*, s.completed_at is not null and not exists (
                select 1 from landing_sessions o where o.subscription_id = s.subscription_id
                   and (o.completed_at, o.session_hash) < (s.completed_at, s.session_hash)) as gave_first_details
         from landing_sessions s where s.session_hash = $1`,
      [sha256Hex(sessionId)],
    );
    if (!row) throw new ProblemError('not_found', 'landing.session_unknown', 'This page is not known. Open it again from the marketplace.');
    if (row.expires_at <= this.clock.now())
      throw new ProblemError('gone', 'landing.session_expired', 'This page has expired. Open it again from the marketplace.');
    return {
      sessionHash: row.session_hash,
      marketplace: row.marketplace,
      subscriptionId: row.subscription_id,
      completedAt: row.completed_at,
      gaveFirstDetails: row.gave_first_details,
      expiresAt: row.expires_at,
      details: row.details ? (JSON.parse(this.sealer.open(row.details, 'landing.details')) as LandingDetails) : null,
    };
  }

  /**
   * The completed landing makes the tenant. On a purchase that already has one (auto-activated, or a visit with a token of
   * its own) it sets display name and contact only. A token is good for one completion, however many visits it opened: who
   * presents it again may be somebody else. Throws `landing.details_invalid` with a list of fields, `landing.already_completed`.
   */
  async complete(tx: Tx, sessionId: string, input: unknown): Promise<{ subscriptionId: string; tenantId: string; created: boolean }> {
    const session = await this.find(tx, sessionId);
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
    const record = await this.subscriptions.get(tx, session.subscriptionId);
    const plan = await this.catalog.get(tx, record.planVersionId!);
    const region = parsed.success ? parsed.data.region : regionOf(input);
    if (region && !plan.regions.some((r) => r.id === region)) errors.push({ field: 'region', message: 'is not offered for this plan' });
    if (!parsed.success || errors.length > 0)
      throw new ProblemError('validation', 'landing.details_invalid', 'Some details are missing or wrong.', { errors });
    if (['closing', 'cancelled', 'voided'].includes(record.state))
      throw new ProblemError('conflict', 'landing.purchase_over', 'This purchase has ended. Buy it again in the marketplace.');
    const details = parsed.data;
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
