import { Controller, Get, Header, Inject, Param, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiProduces, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { CLOCK, DATABASE, fromPublicId, ProblemError, type Clock, type Database, type Tx } from '#platform';
import { listSubmissions, Metering, type Explained } from '#metering';
import { Allow } from '../support/auth.guard.js';
import { parse } from '../support/validate.js';
import { explanationPage } from './explanation-html.js';
import { explainedView, explanationView } from './explanation-view.js';

const format = z.enum(['json', 'html']).default('json');
const asked = z.looseObject({
  of: z.string().trim().min(1).max(400),
  source: z.string().max(400).optional(),
  day: z.iso.date().optional(),
  format,
});

@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1')
export class ExplanationsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Metering) private readonly metering: Metering,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Get('usage-records/:id/explanation')
  @Header('cache-control', 'no-store')
  @Allow('operator')
  @ApiOperation({
    operationId: 'explainUsageRecord',
    summary:
      'From a record to its samples and its receipt, calculated again, in words and numbers that add up; format=html is a page to print',
  })
  @ApiQuery({ name: 'format', required: false, enum: ['json', 'html'] })
  @ApiProduces('application/json', 'text/html')
  @ApiResponse({ status: 404, description: 'usage_record.not_found, marketplace.not_configured' })
  async record(@Param('id') id: string, @Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    const recordId = fromPublicId('rec', id);
    const wanted = parse(z.looseObject({ format }), query);
    const x = await this.db.ops((tx) => this.metering.explainRecord(tx, recordId));
    return wanted.format === 'html' ? this.page(reply, id, { found: 'record', explanations: [x] }) : explanationView(x);
  }

  @Get('explanations')
  @Header('cache-control', 'no-store')
  @Allow('operator')
  @ApiOperation({
    operationId: 'explain',
    summary: 'Both ways: from a record, a submission or a receipt to its samples, from a raw event to its record and receipt',
  })
  @ApiQuery({ name: 'of', description: "rec_…, itm_…, a marketplace's receipt, or the id of a raw event" })
  @ApiQuery({ name: 'source', required: false, description: 'of a raw event' })
  @ApiQuery({ name: 'day', required: false, description: 'of a raw event that an import posted, for example 2026-03-10 (UTC)' })
  @ApiQuery({ name: 'format', required: false, enum: ['json', 'html'] })
  @ApiProduces('application/json', 'text/html')
  @ApiResponse({
    status: 404,
    description: 'usage_record.not_found, submission.not_found, explain.nothing_found, marketplace.not_configured',
  })
  async any(@Query() query: unknown, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    const q = parse(asked, query);
    const found = await this.db.ops((tx) => this.find(tx, q));
    return q.format === 'html' ? this.page(reply, q.of, found) : explainedView(found);
  }

  private async find(tx: Tx, q: z.infer<typeof asked>): Promise<Explained> {
    const recordId = q.of.startsWith('rec_') ? fromPublicId('rec', q.of) : q.of.startsWith('itm_') ? await recordOfItem(tx, q.of) : null;
    if (recordId) return { found: 'record', explanations: [await this.metering.explainRecord(tx, recordId)] };
    return this.metering.explainAny(tx, { of: q.of, ...(q.source ? { source: q.source } : {}), ...(q.day ? { day: q.day } : {}) });
  }

  private page(reply: FastifyReply, of: string, found: Explained): string {
    void reply.header('content-type', 'text/html; charset=utf-8');
    return explanationPage(`Explanation of ${of}`, found, this.clock.now());
  }
}

async function recordOfItem(tx: Tx, id: string): Promise<string> {
  const [item] = (await listSubmissions(tx, { limit: 1, itemId: fromPublicId('itm', id) })).items;
  if (!item) throw new ProblemError('not_found', 'submission.not_found', 'There is no such submission.');
  return item.record_id;
}
