import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, isUuid, ProblemError, toPublicId, type Database, type Tx } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { listUsageReports, Metering, readUsageReport, REPORT_ZONES, USAGE_REPORT_FIELDS } from '#metering';
import { Audit, type Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { requestRun } from '../../processes/reconcile.js';
import { Answers, apiSchema, Refuses, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import {
  importedUsageReport,
  importedView,
  previewView,
  usageReport,
  usageReportPage,
  usageReportPreview,
  usageReportView,
} from './usage-report-views.js';

const text = z.string().trim().max(200);
const fields = z.partialRecord(z.enum(USAGE_REPORT_FIELDS), text);
const day = z.iso.date();
const file = {
  marketplace: z.enum(MARKETPLACES),
  csv: z.string().min(1).describe('The file as text (UTF-8); its first line names the columns.'),
  mapping: fields
    .optional()
    .describe(
      'Field to column name, before what is proposed; an empty name takes a proposal away. Needed: day or month; purchase, agreement or account; dimension; quantity.',
    ),
  constants: fields.optional().describe('What the file does not say and is one for all lines.'),
  dimensions: z.record(text, text).optional().describe("The report's name of a dimension (a SKU, say) to ours."),
  delimiter: z.enum([',', ';', '\t', '|']).optional(),
  decimal: z.enum(['point', 'comma']).optional().describe('Needed only where the file leaves it unclear.'),
  dates: z.enum(['month_first', 'day_first']).optional().describe('How 03/04/2026 is meant, where the file leaves it unclear.'),
  zone: z.enum(REPORT_ZONES).optional().describe("Whose midnight a day of the report begins at; the marketplace's, unless said."),
};
const preview = apiSchema('UsageReportFile', z.strictObject(file));
const importing = apiSchema(
  'UsageReportImport',
  z.strictObject({
    ...file,
    asOf: z.iso.datetime().optional().describe('When the report was made; now, unless said. What came later cannot be in it.'),
    from: day.optional().describe('The first day it covers; the first it tells of, unless said.'),
    to: day.optional().describe('The day after the last that it covers; after the last it tells of, unless said.'),
    roundedTo: z.int().min(0).max(12).optional().describe('Decimals to which the report rounds each row; it does not, unless said.'),
  }),
);
const voiding = apiSchema('UsageReportVoid', z.strictObject({ reason: z.string().trim().min(3).max(500) }));
const filter = z.looseObject({ marketplace: z.enum(MARKETPLACES).optional() });

/** Without what was not given: absent, not undefined. */
const given = <T extends Record<string, unknown>>(o: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };

@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1/usage-reports')
export class UsageReportsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Metering) private readonly metering: Metering,
    @Inject(ProcessContext) private readonly p: ProcessContext,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Post('preview')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'previewUsageReport',
    summary: 'A usage report as it would be understood: columns, mapping, first rows, and what is wrong by line; nothing is stored',
  })
  @ApiBody({ schema: schemaRef(preview) })
  @Answers(200, usageReportPreview, 'What was understood')
  @Refuses(['validation', 'request.invalid, csv.unreadable, csv.empty'], ['too_large', 'csv.too_long'])
  preview(@Body() body: unknown): unknown {
    return previewView(readUsageReport(given(parse(preview, body))));
  }

  @Post()
  @Allow('operator')
  @ApiOperation({
    operationId: 'importUsageReport',
    summary: 'Stores a usage report that finance downloaded, and compares it at once; the same file again changes nothing',
  })
  @ApiBody({ schema: schemaRef(importing) })
  @Answers(201, importedUsageReport, 'The report, and the run that compares it')
  @Refuses(
    ['validation', 'request.invalid, csv.unreadable, csv.empty, usage_report.faults, usage_report.coverage'],
    ['not_found', 'marketplace.not_configured'],
    ['conflict', 'usage_report.conflict: this file is stored and was read another way'],
    ['too_large', 'csv.too_long'],
  )
  async import(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const { asOf, ...wanted } = given(parse(importing, body));
    if (!this.p.marketplaces.has(wanted.marketplace))
      throw new ProblemError('not_found', 'marketplace.not_configured', `This installation does not sell on ${wanted.marketplace}.`);
    return this.db.ops(async (tx) => {
      const done = await this.metering.importUsageReport(tx, {
        ...wanted,
        ...(asOf ? { asOf: new Date(asOf) } : {}),
        by: caller.keyId,
      });
      if (done.fresh)
        await this.note(tx, caller, 'usage_report.imported', done.reportId, {
          marketplace: wanted.marketplace,
          lines: done.read.lines.length,
        });
      const report = (await listUsageReports(tx, { limit: 1, after: null, reportId: done.reportId })).items[0]!;
      return importedView(report, done, done.fresh ? await this.compare(tx, caller, report) : null);
    });
  }

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listUsageReports', summary: 'Imported usage reports, newest first' })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  @Answers(200, usageReportPage, 'Reports')
  async list(@Query() query: unknown): Promise<unknown> {
    const { marketplace } = parse(filter, query);
    const q = readPage(query);
    if (q.after !== null && !isUuid(q.after))
      throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
    return pageOf(await this.db.ops((tx) => listUsageReports(tx, { ...q, ...(marketplace ? { marketplace } : {}) })), usageReportView);
  }

  @Get(':id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getUsageReport', summary: 'One of them, and how it was read' })
  @Answers(200, usageReport, 'The report')
  @Refuses(['not_found', 'usage_report.not_found'])
  get(@Param('id') id: string): Promise<unknown> {
    return this.db.ops((tx) => one(tx, fromPublicId('urp', id)));
  }

  @Post(':id/void')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'voidUsageReport', summary: 'A wrong import counts nowhere any more; the file may be imported again' })
  @ApiBody({ schema: schemaRef(voiding) })
  @Answers(200, usageReport, 'The report')
  @Refuses(['not_found', 'usage_report.not_found'], ['conflict', 'usage_report.voided'])
  async void(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const reportId = fromPublicId('urp', id);
    const { reason } = parse(voiding, body);
    return this.db.ops(async (tx) => {
      await this.metering.voidUsageReport(tx, { reportId, by: caller.keyId, reason });
      await this.note(tx, caller, 'usage_report.voided', reportId, { reason });
      return one(tx, reportId);
    });
  }

  /** Null where somebody's run compares reports of this marketplace now: whoever imported asks again. */
  private async compare(
    tx: Tx,
    caller: Principal,
    report: { marketplace: (typeof MARKETPLACES)[number]; from_at: Date; to_at: Date },
  ): Promise<string | null> {
    try {
      const { marketplace, from_at: from, to_at: to } = report;
      return await requestRun(this.p, tx, { kinds: ['usage_report'], marketplace, from, to, requestedBy: caller.name, via: 'api' });
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'reconciliation.under_way') return null;
      throw error;
    }
  }

  private note(tx: Tx, caller: Principal, action: string, subject: string, detail: Record<string, unknown>): Promise<void> {
    return auditNote(this.audit, tx, caller, { action, subject: `usage_report:${subject}`, detail });
  }
}

async function one(tx: Tx, reportId: string): Promise<unknown> {
  const [row] = (await listUsageReports(tx, { limit: 1, after: null, reportId })).items;
  if (!row) throw new ProblemError('not_found', 'usage_report.not_found', `There is no usage report ${toPublicId('urp', reportId)}.`);
  return usageReportView(row);
}
