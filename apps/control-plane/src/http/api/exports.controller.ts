import { Controller, Get, Inject, Query, Res, StreamableFile } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiProduces, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { DATABASE, fromPublicId, type Database } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { FINDING_KINDS, listFindings, listSubmissions, listUsageRecords, PriceBook } from '#metering';
import type { Principal } from '#tenancy';
import { Allow } from '../support/auth.guard.js';
import { csvStream } from '../support/csv.js';
import { Caller, scoped } from '../support/scope.js';
import { parse } from '../support/validate.js';
import { findingView } from './finance-views.js';
import { submissionView, usageRecordView } from './metering-views.js';

const PAGE = 500;
const span = z.looseObject({
  from: z.iso.datetime().optional(),
  to: z.iso.datetime().optional(),
  marketplace: z.enum(MARKETPLACES).optional(),
  subscriptionId: z.string().optional(),
  state: z.string().max(40).optional(),
  kind: z.enum(FINDING_KINDS).optional(),
  open: z.enum(['true', 'false']).optional(),
});
const RECORDS =
  'id tenantId subscriptionId segmentId marketplace meter dimension hour planId planVersionId quantity listedUnit baseQuantity quality startsAt endsAt closedAt submissionState costSplit'.split(
    ' ',
  );
const SUBMISSIONS =
  'id recordId tenantId subscriptionId marketplace dimension hour quantity state holdReason targetDeadline hardDeadline lastCode receipt acceptedQuantity settledAt attempts'.split(
    ' ',
  );
const FINDINGS =
  'id kind state tenantId subscriptionId marketplace dimension hour units amount currency price deadline claimBy raisedAt settledAt settlement evidence'.split(
    ' ',
  );

/** Whole lists as CSV. Streamed: a year of hours needs no more memory than one page. */
@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1/exports')
export class ExportsController {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  @Get('usage-records.csv')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'exportUsageRecords', summary: 'Frozen hours, oldest first' })
  @ApiQuery({ name: 'from', required: false, description: 'hours from this instant on' })
  @ApiQuery({ name: 'to', required: false, description: 'hours before this instant' })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiProduces('text/csv')
  records(@Caller() caller: Principal, @Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): StreamableFile {
    const q = filterOf(query);
    return file(reply, 'usage-records', RECORDS, (after) =>
      scoped(this.db, caller, async (tx) => {
        const page = await listUsageRecords(tx, { ...q, limit: PAGE, after });
        return { items: page.items.map(usageRecordView), nextCursor: page.nextCursor };
      }),
    );
  }

  @Get('submissions.csv')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'exportSubmissions', summary: 'Wire items with their outcome and the number of their attempts' })
  @ApiQuery({ name: 'from', required: false })
  @ApiQuery({ name: 'to', required: false })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiQuery({ name: 'state', required: false })
  @ApiProduces('text/csv')
  submissions(@Caller() caller: Principal, @Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): StreamableFile {
    const q = filterOf(query);
    return file(reply, 'submissions', SUBMISSIONS, (after) =>
      scoped(this.db, caller, async (tx) => {
        const page = await listSubmissions(tx, { ...q, limit: PAGE, after });
        return { items: page.items.map((s) => ({ ...submissionView(s), attempts: s.attempts.length })), nextCursor: page.nextCursor };
      }),
    );
  }

  @Get('findings.csv')
  @Allow('operator')
  @ApiOperation({ operationId: 'exportFindings', summary: 'Named differences with units, money, and how they were settled' })
  @ApiQuery({ name: 'from', required: false })
  @ApiQuery({ name: 'to', required: false })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiQuery({ name: 'kind', required: false, enum: FINDING_KINDS })
  @ApiQuery({ name: 'open', required: false, enum: ['true', 'false'] })
  @ApiProduces('text/csv')
  findings(@Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): StreamableFile {
    const { state: _, ...q } = filterOf(query);
    return file(reply, 'findings', FINDINGS, (after) =>
      this.db.ops(async (tx) => {
        const page = await listFindings(tx, { ...q, limit: PAGE, after });
        const book = await PriceBook.load(
          tx,
          page.items.flatMap((f) => (f.subscription_id && f.units ? [f.subscription_id] : [])),
        );
        const items = page.items.map((f) =>
          findingView(
            f,
            f.subscription_id && f.units && f.dimension && f.hour ? book.money(f.subscription_id, f.dimension, f.hour, f.units) : null,
          ),
        );
        return { items, nextCursor: page.nextCursor };
      }),
    );
  }
}

function filterOf(query: unknown): {
  from?: Date;
  to?: Date;
  marketplace?: string;
  subscriptionId?: string;
  state?: string;
  kind?: string;
  open?: boolean;
} {
  const q = parse(span, query);
  return {
    ...(q.from ? { from: new Date(q.from) } : {}),
    ...(q.to ? { to: new Date(q.to) } : {}),
    ...(q.marketplace ? { marketplace: q.marketplace } : {}),
    ...(q.subscriptionId ? { subscriptionId: fromPublicId('sub', q.subscriptionId) } : {}),
    ...(q.state ? { state: q.state } : {}),
    ...(q.kind ? { kind: q.kind } : {}),
    ...(q.open ? { open: q.open === 'true' } : {}),
  };
}

function file(
  reply: FastifyReply,
  name: string,
  columns: string[],
  page: (after: string | null) => Promise<{ items: Record<string, unknown>[]; nextCursor: string | null }>,
): StreamableFile {
  void reply.header('cache-control', 'no-store');
  const stream = csvStream(columns, page, (item) => columns.map((c) => item[c]));
  return new StreamableFile(stream, { type: 'text/csv; charset=utf-8; header=present', disposition: `attachment; filename="${name}.csv"` });
}
