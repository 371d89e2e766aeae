import { Controller, Get, Inject, Param, Query, Res, StreamableFile } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiProduces, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { MARKETPLACES } from '#marketplaces/core';
import { Metering } from '#metering';
import { Allow } from '../support/auth.guard.js';
import { textStream } from '../support/csv.js';
import { parse } from '../support/validate.js';
import { monthCsv, monthJson } from './month-view.js';

const asked = z.looseObject({
  marketplace: z.enum(MARKETPLACES).optional(),
  format: z.enum(['json', 'csv']).default('json'),
  final: z.enum(['true', 'false']).default('false'),
});

@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1/months')
export class MonthsController {
  constructor(@Inject(Metering) private readonly metering: Metering) {}

  @Get(':month')
  @Allow('operator')
  @ApiOperation({
    operationId: 'closeMonth',
    summary:
      'A month from sample to payout, each marketplace at its true grain, with every variance named; provisional while hours or submissions are open',
  })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'format', required: false, enum: ['json', 'csv'] })
  @ApiQuery({ name: 'final', required: false, enum: ['true', 'false'], description: 'true: refused with month.open unless it is final' })
  @ApiProduces('application/json', 'text/csv')
  @ApiResponse({ status: 400, description: 'request.invalid, month.malformed' })
  @ApiResponse({ status: 409, description: 'month.open' })
  async close(
    @Param('month') month: string,
    @Query() query: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<StreamableFile> {
    const q = parse(asked, query);
    const { head, pieces } = await this.metering.closeMonth({
      month,
      requireFinal: q.final === 'true',
      ...(q.marketplace ? { marketplace: q.marketplace } : {}),
    });
    void reply.header('cache-control', 'no-store');
    if (q.format === 'json') return new StreamableFile(textStream(monthJson(head, pieces)), { type: 'application/json; charset=utf-8' });
    return new StreamableFile(textStream(monthCsv(head, pieces)), {
      type: 'text/csv; charset=utf-8; header=present',
      disposition: `attachment; filename="month-${head.month}-${head.state}.csv"`,
    });
  }
}
