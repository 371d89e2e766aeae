import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, ProblemError, toPublicId, type Database } from '#platform';
import { Audit, Keys, Tenants, type Principal } from '#tenancy';
import { getSubscription, listEntitlements, listQuotas, listSubscriptions, withAdvisory, type SubscriptionRow } from '#entitlements';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller, scoped } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import { entitlementView, quotaView, subscriptionView, tenantView } from './views.js';
import { timelineView } from './timeline-view.js';
import { readTimeline } from '../../processes/read-timeline.js';

const newKey = z.strictObject({ name: z.string().trim().min(1).max(80) });

@ApiTags('tenants')
@ApiBearerAuth()
@Controller('api/v1')
export class TenantsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Tenants) private readonly tenants: Tenants,
    @Inject(Keys) private readonly keys: Keys,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Get('tenants')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listTenants', summary: 'Tenants the caller may see' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async listTenants(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    return pageOf(await scoped(this.db, caller, (tx) => this.tenants.list(tx, q)), tenantView);
  }

  @Get('tenants/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getTenant', summary: 'One tenant' })
  async getTenant(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return tenantView(await scoped(this.db, caller, (tx) => this.tenants.get(tx, fromPublicId('ten', id))));
  }

  @Post('tenants/:id/keys')
  @HttpCode(201)
  @Allow('operator')
  @ApiOperation({ operationId: 'createTenantKey', summary: 'A key of this tenant; shown once' })
  async createTenantKey(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const tenantId = fromPublicId('ten', id);
    const { name } = parse(newKey, body);
    return this.db.ops(async (tx) => {
      await this.tenants.get(tx, tenantId);
      const issued = await this.keys.issue(tx, { kind: 'tenant', name, tenantId });
      await auditNote(this.audit, tx, caller, { tenantId, action: 'key.issued', subject: `key:${issued.keyId}` });
      return { id: issued.keyId, tenantId: toPublicId('ten', tenantId), name, key: issued.key };
    });
  }

  @Get('subscriptions')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listSubscriptions', summary: 'Purchases' })
  async listSubscriptions(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    return this.flagged(
      caller,
      pageOf(await scoped(this.db, caller, (tx) => listSubscriptions(tx, q)), (row) => row),
    );
  }

  @Get('subscriptions/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getSubscription', summary: 'One purchase' })
  async getSubscription(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const row = await scoped(this.db, caller, (tx) => getSubscription(tx, fromPublicId('sub', id)));
    if (!row) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription, or it is not yours.');
    return (await this.flagged(caller, { items: [row], nextCursor: null })).items[0];
  }

  /** Operators see what a marketplace suspects of a buyer; the buyer does not. */
  private async flagged(
    caller: Principal,
    page: { items: SubscriptionRow[]; nextCursor: string | null },
  ): Promise<{ items: unknown[]; nextCursor: string | null }> {
    if (caller.kind !== 'operator') return { ...page, items: page.items.map(subscriptionView) };
    const warned = await this.db.ops((tx) =>
      withAdvisory(
        tx,
        page.items.map((s) => s.subscription_id),
      ),
    );
    return {
      ...page,
      items: page.items.map((s) => ({ ...subscriptionView(s), flags: warned.has(s.subscription_id) ? ['advisory'] : [] })),
    };
  }

  @Get('subscriptions/:id/timeline')
  @Allow('operator', 'tenant')
  @ApiOperation({
    operationId: 'getSubscriptionTimeline',
    summary: 'Each message, decision, fact, cut, call with its answer, operation and finding of this purchase, oldest first',
  })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  @ApiResponse({ status: 404, description: 'subscription.not_found' })
  async getTimeline(@Caller() caller: Principal, @Param('id') id: string, @Query() query: unknown): Promise<unknown> {
    const subscriptionId = fromPublicId('sub', id);
    const q = readTimelinePage(query);
    const page = await scoped(this.db, caller, async (tx) => {
      if (!(await getSubscription(tx, subscriptionId)))
        throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription, or it is not yours.');
      return readTimeline(tx, subscriptionId, q, caller.kind === 'operator' ? 'operator' : 'tenant');
    });
    return pageOf(page, timelineView);
  }

  @Get('entitlements')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listEntitlements', summary: 'Rights to features, with history' })
  async listEntitlements(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    return pageOf(await scoped(this.db, caller, (tx) => listEntitlements(tx, q)), entitlementView);
  }

  @Get('quotas')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listQuotas', summary: 'Numeric limits, with history' })
  async listQuotas(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    return pageOf(await scoped(this.db, caller, (tx) => listQuotas(tx, q)), quotaView);
  }
}

const CURSOR = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\|\d\|[0-9a-f-]{36}$/;

function readTimelinePage(query: unknown): { limit: number; after: string | null } {
  const q = readPage(query);
  if (q.after !== null && !CURSOR.test(q.after))
    throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
  return q;
}
