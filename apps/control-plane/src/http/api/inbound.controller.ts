import { Controller, Get, Inject, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DATABASE, type Database } from '#platform';
import { Allow } from '../support/auth.guard.js';
import { pageOf, readPage } from '../support/validate.js';
import { inboundView, type InboxListRow } from './views.js';

@ApiTags('inbound events')
@ApiBearerAuth()
@Controller('api/v1')
export class InboundController {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

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
