import { ProblemError, type Clock, type Sealer, type Tx, uuidv5, uuidv7 } from '#platform';
import { makeSlug } from '../domain/slug.js';

export interface Contact {
  name: string;
  email: string;
}
export interface Tenant {
  tenantId: string;
  slug: string;
  displayName: string;
  region: string;
  state: 'active' | 'closed';
  createdAt: Date;
  updatedAt: Date;
}

interface TenantRow {
  tenant_id: string;
  slug: string;
  display_name: string;
  region: string;
  state: 'active' | 'closed';
  created_at: Date;
  updated_at: Date;
}

const toTenant = (r: TenantRow): Tenant => ({
  tenantId: r.tenant_id,
  slug: r.slug,
  displayName: r.display_name,
  region: r.region,
  state: r.state,
  createdAt: r.created_at,
  updatedAt: r.updated_at,
});

const COLUMNS = 'tenant_id, slug, display_name, region, state, created_at, updated_at';

/** Tenants: our unit of isolation. The id comes from the purchase that made it, so racing makers are an upsert. */
export class Tenants {
  constructor(
    private readonly clock: Clock,
    private readonly sealer: Sealer,
  ) {}

  /** Makes the tenant of a purchase, or answers the one that exists. A later landing changes name and contact only. */
  async ensureForPurchase(
    tx: Tx,
    input: { purchaseId: string; displayName: string; region: string; contact: Contact | null },
  ): Promise<Tenant> {
    const now = this.clock.now();
    const sealed = input.contact ? this.seal(input.contact) : null;
    const id = uuidv5('tenant', input.purchaseId);
    // No conflict target: the slug follows from the purchase too, and racing makers may meet at either key.
    const [made] = await tx.query<TenantRow>(
      `insert into tenants (tenant_id, slug, display_name, region, contact, state, created_at, updated_at) values ($1, $2, $3, $4, $5, 'active', $6, $6)
       on conflict do nothing returning ${COLUMNS}`,
      [id, makeSlug(input.displayName, input.purchaseId), input.displayName, input.region, sealed, now],
    );
    if (made) return toTenant(made);
    const [row] = await tx.query<TenantRow>(
      `update tenants set display_name = $2, contact = coalesce($3, contact), updated_at = $4 where tenant_id = $1 returning ${COLUMNS}`,
      [id, input.displayName, sealed, now],
    );
    if (!row) throw new Error(`the slug of the tenant of purchase ${input.purchaseId} is another tenant's`);
    return toTenant(row);
  }

  /** A later landing: display name and contact only. Slug and region of a tenant never change. */
  async describe(tx: Tx, tenantId: string, input: { displayName: string; contact: Contact }): Promise<Tenant> {
    const [row] = await tx.query<TenantRow>(
      `update tenants set display_name = $2, contact = $3, updated_at = $4 where tenant_id = $1 returning ${COLUMNS}`,
      [tenantId, input.displayName, this.seal(input.contact), this.clock.now()],
    );
    if (!row) throw new ProblemError('not_found', 'tenant.not_found', 'There is no such tenant.');
    return toTenant(row);
  }

  /**
   * A tenant whose last purchase was deleted with its buyer: name, slug and contact become pseudonyms made of our own id, and his
   * keys end. Id and region stay, because usage and money are kept under them. Idempotent.
   */
  async erase(tx: Tx, tenantId: string): Promise<void> {
    const now = this.clock.now();
    const pseudonym = `gone-${tenantId.replaceAll('-', '').slice(0, 24)}`;
    await tx.query(
      `update tenants set display_name = $2, slug = $2, contact = null, state = 'closed', erased_at = $3, updated_at = $3 where tenant_id = $1 and erased_at is null`,
      [tenantId, pseudonym, now],
    );
    await tx.query(`update api_keys set revoked_at = $2, name = $3 where tenant_id = $1 and revoked_at is null`, [
      tenantId,
      now,
      pseudonym,
    ]);
  }

  private seal(contact: Contact): string {
    return this.sealer.seal(JSON.stringify(contact), 'tenant.contact');
  }

  async get(tx: Tx, tenantId: string): Promise<Tenant> {
    const [row] = await tx.query<TenantRow>(`select ${COLUMNS} from tenants where tenant_id = $1`, [tenantId]);
    if (!row) throw new ProblemError('not_found', 'tenant.not_found', 'There is no such tenant, or it is not yours.');
    return toTenant(row);
  }

  /** In order of id; `after` is the last id of the page before. */
  async list(tx: Tx, page: { limit: number; after: string | null }): Promise<{ items: Tenant[]; nextCursor: string | null }> {
    const rows = await tx.query<TenantRow>(
      `select ${COLUMNS} from tenants where ($1::uuid is null or tenant_id > $1) order by tenant_id limit $2`,
      [page.after, page.limit + 1],
    );
    const items = rows.slice(0, page.limit).map(toTenant);
    return { items, nextCursor: rows.length > page.limit ? items.at(-1)!.tenantId : null };
  }
}

export interface AuditEntry {
  tenantId: string | null;
  actor: string;
  action: string;
  subject: string;
  detail?: Record<string, unknown>;
}

/** Append-only: serving roles may insert and read, never change. */
export class Audit {
  constructor(private readonly clock: Clock) {}
  async record(tx: Tx, entry: AuditEntry): Promise<void> {
    await tx.query(
      'insert into audit_events (audit_event_id, tenant_id, at, actor, action, subject, detail) values ($1, $2, $3, $4, $5, $6, $7)',
      [uuidv7(), entry.tenantId, this.clock.now(), entry.actor, entry.action, entry.subject, JSON.stringify(entry.detail ?? {})],
    );
  }
}
