import { Controller, Get, Inject, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { CLOCK, DATABASE, fromPublicId, toPublicId, type Clock, type Database } from '#platform';
import { NOTICE_KINDS } from '#marketplaces/core';
import { listNotices, listRenewals, type NoticeRow, type RenewalRow } from '#entitlements';
import { Allow } from '../support/auth.guard.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const filter = z.looseObject({
  kind: z.enum(NOTICE_KINDS).optional(),
  state: z.enum(['open', 'closed', 'all']).default('open'),
  subscriptionId: z.string().optional(),
});
const span = z.looseObject({ days: z.coerce.number().int().min(1).max(400).default(90) });
const MOST = 1_000;

@ApiTags('notices')
@ApiBearerAuth()
@Controller('api/v1')
export class NoticesController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Get('marketplace-notices')
  @Allow('operator')
  @ApiOperation({
    operationId: 'listMarketplaceNotices',
    summary:
      'What marketplaces tell people: advisories about buyers, cancellation requests (approved by AWS itself after seven days), renewals, billing adjustments. Most urgent first',
  })
  @ApiQuery({ name: 'kind', required: false, enum: [...NOTICE_KINDS] })
  @ApiQuery({ name: 'state', required: false, enum: ['open', 'closed', 'all'], description: 'open unless told' })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Query() query: unknown): Promise<unknown> {
    const { kind, state, subscriptionId } = parse(filter, query);
    const now = this.clock.now();
    const wanted = {
      kind: kind ?? null,
      state: state === 'all' ? null : state,
      subscriptionId: subscriptionId === undefined ? null : fromPublicId('sub', subscriptionId),
    };
    return pageOf(await this.db.ops((tx) => listNotices(tx, wanted, readPage(query))), (row) => noticeView(row, now));
  }

  @Get('renewals')
  @Allow('operator')
  @ApiOperation({
    operationId: 'listRenewals',
    summary: 'Purchases whose term ends in the next days, soonest first, and whether they renew',
  })
  @ApiQuery({ name: 'days', required: false, schema: { type: 'integer', minimum: 1, maximum: 400, default: 90 } })
  async renewals(@Query() query: unknown): Promise<unknown> {
    const { days } = parse(span, query);
    const from = this.clock.now();
    const to = new Date(from.getTime() + days * 86_400_000);
    const rows = await this.db.ops((tx) => listRenewals(tx, { from, to, limit: MOST + 1 }));
    return { from: from.toISOString(), to: to.toISOString(), items: rows.slice(0, MOST).map(renewalView), more: rows.length > MOST };
  }
}

const noticeView = (n: NoticeRow, now: Date): Record<string, unknown> => ({
  id: toPublicId('ntc', n.notice_id),
  marketplace: n.marketplace,
  kind: n.kind,
  externalId: n.external_id,
  subscriptionId: n.subscription_id ? toPublicId('sub', n.subscription_id) : null,
  externalReference: n.external_ref,
  state: n.state,
  status: n.status,
  dueAt: n.due_at?.toISOString() ?? null,
  isOverdue: n.state === 'open' && n.due_at !== null && n.due_at <= now,
  detail: n.detail,
  occurredAt: n.occurred_at.toISOString(),
});

const renewalView = (r: RenewalRow): Record<string, unknown> => ({
  subscriptionId: toPublicId('sub', r.subscription_id),
  marketplace: r.marketplace,
  externalSubscriptionId: r.external_subscription_id,
  name: r.name,
  planId: r.external_plan_id,
  termEndsAt: r.term_ends_at.toISOString(),
  // An end that is known is one without renewal.
  renews: r.ends_at === null || r.ends_at > r.term_ends_at,
  announced: r.announced === null ? null : { status: r.announced, at: r.announced_at?.toISOString() ?? null },
});
