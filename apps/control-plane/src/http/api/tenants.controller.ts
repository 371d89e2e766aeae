import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, ProblemError, toPublicId, type Database } from '#platform';
import { Audit, Keys, Tenants, type Principal } from '#tenancy';
import { getSubscription, listEntitlements, listQuotas, listSubscriptions, timeline } from '#entitlements';
import { Allow } from '../support/auth.guard.js';
import { Caller, scoped } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import { entitlementView, quotaView, subscriptionView, tenantView, timelineView } from './views.js';

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
      await this.audit.record(tx, {
        tenantId,
        actor: `${caller.kind}:${caller.keyId}`,
        action: 'key.issued',
        subject: `key:${issued.keyId}`,
      });
      return { id: issued.keyId, tenantId: toPublicId('ten', tenantId), name, key: issued.key };
    });
  }

  @Get('subscriptions')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listSubscriptions', summary: 'Purchases' })
  async listSubscriptions(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    return pageOf(await scoped(this.db, caller, (tx) => listSubscriptions(tx, q)), subscriptionView);
  }

  @Get('subscriptions/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getSubscription', summary: 'One purchase' })
  async getSubscription(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const row = await scoped(this.db, caller, (tx) => getSubscription(tx, fromPublicId('sub', id)));
    if (!row) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription, or it is not yours.');
    return subscriptionView(row);
  }

  @Get('subscriptions/:id/timeline')
  @Allow('operator')
  @ApiOperation({ operationId: 'getSubscriptionTimeline', summary: 'Every fact of this purchase and what it did' })
  async getTimeline(@Param('id') id: string): Promise<unknown> {
    return { items: (await this.db.ops((tx) => timeline(tx, fromPublicId('sub', id)))).map(timelineView), nextCursor: null };
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
