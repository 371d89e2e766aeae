import { Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { DATABASE, fromPublicId, isUuid, toPublicId, type Database } from '#platform';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { replayInbound } from '../../processes/replay-inbound.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, readPage } from '../support/validate.js';
import { inboundView, type InboxListRow } from './views.js';

@ApiTags('inbound events')
@ApiBearerAuth()
@Controller('api/v1')
export class InboundController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  /** In order of arrival. Bodies stay in the database: they hold a buyer's personal data. */
  @Get('inbound-events')
  @Allow('operator')
  @ApiOperation({ operationId: 'listInboundEvents', summary: 'Verified messages of the marketplaces, with the answer each got' })
  async listInboundEvents(@Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    const rows = await this.db.ops((tx) =>
      tx.query<InboxListRow>(
        `select inbox_id, source, natural_key, received_at, state, note, subscription_id, answer, principal from inbox where ($1::uuid is null or inbox_id > $1) order by inbox_id limit $2`,
        [q.after, q.limit + 1],
      ),
    );
    const items = rows.slice(0, q.limit);
    return pageOf({ items, nextCursor: rows.length > q.limit ? items.at(-1)!.inbox_id : null }, inboundView);
  }

  @Post('inbound-events/:id/replay')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'replayInboundEvent',
    summary: 'Normalise a stored message once more against the truth of now; a processed one changes nothing new',
  })
  @ApiResponse({ status: 404, description: 'inbound_event.not_found' })
  @ApiResponse({
    status: 409,
    description: 'inbound_event.refused (never verified), inbound_event.not_replayable (landing token erased), inbound_event.task_parked',
  })
  async replayInboundEvent(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    // A refused event is listed by its bare id: it is told why it cannot be replayed, not that it is unknown.
    const inboxId = isUuid(id) ? id : fromPublicId('inb', id);
    const { taskId, fresh } = await this.db.ops((tx) => replayInbound(this.p, tx, inboxId, caller));
    return { id: toPublicId('inb', inboxId), taskId: toPublicId('tsk', taskId), state: fresh ? 'booked' : 'booked_before' };
  }

  @Get('refused-events')
  @Allow('operator')
  @ApiOperation({ operationId: 'listRefusedEvents', summary: 'Messages whose sender was not verified (newest first, capped)' })
  async listRefused(@Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    const rows = await this.db.ops((tx) =>
      tx.query<{ refusal_id: string; source: string; code: string; detail: string; refused_at: Date }>(
        'select refusal_id, source, code, detail, refused_at from refusals where ($1::uuid is null or refusal_id < $1) order by refusal_id desc limit $2',
        [q.after, q.limit + 1],
      ),
    );
    const items = rows.slice(0, q.limit);
    return pageOf({ items, nextCursor: rows.length > q.limit ? items.at(-1)!.refusal_id : null }, (r) => ({
      id: r.refusal_id,
      source: r.source,
      code: r.code,
      detail: r.detail,
      refusedAt: r.refused_at.toISOString(),
    }));
  }
}
