import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { CLOCK, DATABASE, fromPublicId, toPublicId, type Clock, type Database, type Tx } from '#platform';
import { NOTICE_KINDS } from '#marketplaces/core';
import { closeNotice, listNotices, listRenewals, takeNotice, type NoticeRow, type RenewalRow } from '#entitlements';
import { Audit, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const filter = z.looseObject({
  kind: z.enum(NOTICE_KINDS).optional(),
  state: z.enum(['open', 'closed', 'all']).default('open'),
  subscriptionId: z.string().optional(),
  taken: z.enum(['mine', 'nobody']).optional(),
});
const taking = apiSchema(
  'NoticeTaking',
  z.strictObject({ takeOver: z.boolean().default(false).describe('Also where another person looks after it already.') }),
);
const closing = apiSchema(
  'NoticeClosing',
  z.strictObject({ reason: z.string().trim().min(3).max(500).describe('What was done about it; kept with it and in the audit trail.') }),
);
const span = z.looseObject({ days: z.coerce.number().int().min(1).max(400).default(90) });
const MOST = 1_000;

@ApiTags('notices')
@ApiBearerAuth()
@Controller('api/v1')
export class NoticesController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(Audit) private readonly audit: Audit,
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
  @ApiQuery({ name: 'taken', required: false, enum: ['mine', 'nobody'], description: 'Whom they are with' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const { kind, state, subscriptionId, taken } = parse(filter, query);
    const now = this.clock.now();
    const wanted = {
      kind: kind ?? null,
      state: state === 'all' ? null : state,
      subscriptionId: subscriptionId === undefined ? null : fromPublicId('sub', subscriptionId),
      takenBy: taken === 'mine' ? caller.keyId : taken === 'nobody' ? '' : null,
    };
    return pageOf(await this.db.ops((tx) => listNotices(tx, wanted, readPage(query))), (row) => noticeView(row, now));
  }

  @Post('marketplace-notices/:id/take')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'takeMarketplaceNotice', summary: 'You look after it; others see that' })
  @ApiBody({ schema: schemaRef(taking), required: false })
  @ApiResponse({ status: 404, description: 'notice.not_found' })
  @ApiResponse({ status: 409, description: 'notice.taken, notice.closed' })
  take(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { takeOver } = parse(taking, body ?? {});
    const now = this.clock.now();
    return this.db.ops(async (tx) => {
      const { notice, from } = await takeNotice(tx, fromPublicId('ntc', id), { by: caller.keyId, takeOver, now });
      await this.record(tx, caller, 'notice.taken', notice, from ? { from } : {});
      return noticeView(notice, now);
    });
  }

  @Post('marketplace-notices/:id/close')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'closeMarketplaceNotice',
    summary: 'It needs nobody any more; the marketplace is told nothing, and its next word on the matter opens it again',
  })
  @ApiBody({ schema: schemaRef(closing) })
  @ApiResponse({ status: 404, description: 'notice.not_found' })
  @ApiResponse({ status: 409, description: 'notice.closed' })
  close(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { reason } = parse(closing, body);
    const now = this.clock.now();
    return this.db.ops(async (tx) => {
      const notice = await closeNotice(tx, fromPublicId('ntc', id), { by: caller.keyId, reason, now });
      await this.record(tx, caller, 'notice.closed', notice, { reason });
      return noticeView(notice, now);
    });
  }

  private record(tx: Tx, caller: Principal, action: string, notice: NoticeRow, detail: Record<string, unknown>): Promise<unknown> {
    return auditNote(this.audit, tx, caller, {
      action,
      subject: `notice:${notice.notice_id}`,
      detail: { kind: notice.kind, externalId: notice.external_id, ...detail },
    });
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
  takenBy: n.taken_by,
  takenAt: n.taken_at?.toISOString() ?? null,
  closedBy: n.closed_by,
  closedAt: n.closed_at?.toISOString() ?? null,
  closedReason: n.closed_reason,
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
