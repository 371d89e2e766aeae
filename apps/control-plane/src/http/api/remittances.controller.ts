import { Body, Controller, Get, HttpCode, Inject, Param, Post, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, isUuid, ProblemError, toPublicId, type Database, type Tx } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { listAllocations, listRemittances, Metering, REMITTANCE_FIELDS, type ImportResult, type RemittanceRow } from '#metering';
import { Audit, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const text = z.string().trim().min(1).max(200);
const reason = z.string().trim().min(3).max(500);
const fields = z.partialRecord(z.enum(REMITTANCE_FIELDS), text);
const importFile = apiSchema(
  'RemittanceImport',
  z.strictObject({
    marketplace: z.enum(MARKETPLACES),
    csv: z.string().min(1).describe('The file as text (UTF-8); its first line names the columns.'),
    mapping: fields.describe('Field to column name. Needed: reference, month, currency, gross, here or in `constants`.'),
    constants: fields.default({}).describe('What the file does not say and is one for all lines.'),
    delimiter: z.enum([',', ';', '\t', '|']).optional(),
    decimal: z.enum(['point', 'comma']).optional().describe('Needed only where the file leaves it unclear.'),
    dryRun: z.boolean().default(true).describe('A preview: everything is read and said, nothing is stored.'),
  }),
);
const amount = z.string().regex(/^-?\d{1,18}(\.\d{1,12})?$/, 'decimal text');
const newAllocations = apiSchema(
  'RemittanceAllocations',
  z.strictObject({
    reason,
    allocations: z
      .array(
        z.strictObject({
          month: z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/, 'for example 2026-03'),
          externalId: text.describe("The marketplace's own name: the purchase (Azure), the agreement (AWS) or the account (Google)."),
          dimension: text.optional(),
          invoice: text.optional(),
          amount,
        }),
      )
      .max(5_000),
  }),
);
const voiding = apiSchema('RemittanceVoid', z.strictObject({ reason }));
const filter = z.looseObject({ marketplace: z.enum(MARKETPLACES).optional() });

@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1/remittances')
export class RemittancesController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Metering) private readonly metering: Metering,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Post('imports')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'importRemittances',
    summary: 'Payouts from a file that finance downloaded; a preview unless dryRun is false. Idempotent by marketplace and reference',
  })
  @ApiBody({ schema: schemaRef(importFile) })
  @ApiResponse({
    status: 400,
    description: 'request.invalid, csv.unreadable, csv.empty, remittance.mapping, remittance.faults, remittance.decimal_unclear',
  })
  @ApiResponse({ status: 409, description: 'remittance.conflict' })
  async import(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const { csv, ...wanted } = parse(importFile, body);
    return this.db.ops(async (tx) => {
      const result = await this.metering.importRemittances(tx, {
        csv,
        marketplace: wanted.marketplace,
        mapping: wanted.mapping,
        constants: wanted.constants,
        ...(wanted.delimiter ? { delimiter: wanted.delimiter } : {}),
        ...(wanted.decimal ? { decimal: wanted.decimal } : {}),
        dryRun: wanted.dryRun,
        by: caller.keyId,
      });
      const fresh = result.remittances.filter((r) => r.outcome === 'new');
      if (result.stored && fresh.length > 0)
        await this.note(tx, caller, 'remittances.imported', wanted.marketplace, {
          references: fresh.map((r) => r.draft.reference).slice(0, 200),
        });
      return importView(result);
    });
  }

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listRemittances', summary: 'Payouts as they were imported, with what is not allocated' })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Query() query: unknown): Promise<unknown> {
    const { marketplace } = parse(filter, query);
    const q = readPage(query);
    if (q.after !== null && !isUuid(q.after))
      throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
    return pageOf(await this.db.ops((tx) => listRemittances(tx, { ...q, ...(marketplace ? { marketplace } : {}) })), view);
  }

  @Get(':id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getRemittance', summary: 'One payout and what its gross was for' })
  @ApiResponse({ status: 404, description: 'remittance.not_found' })
  get(@Param('id') id: string): Promise<unknown> {
    return this.db.ops((tx) => one(tx, fromPublicId('rem', id)));
  }

  @Put(':id/allocations')
  @Allow('operator')
  @ApiOperation({
    operationId: 'allocateRemittance',
    summary: 'What its gross was for, anew and whole; what is left becomes the unallocated row',
  })
  @ApiBody({ schema: schemaRef(newAllocations) })
  @ApiResponse({ status: 400, description: 'request.invalid, remittance.unknown_target' })
  @ApiResponse({ status: 404, description: 'remittance.not_found' })
  @ApiResponse({ status: 409, description: 'remittance.over_allocated, remittance.voided' })
  async allocate(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const remittanceId = fromPublicId('rem', id);
    const given = parse(newAllocations, body);
    return this.db.ops(async (tx) => {
      const wanted = given.allocations.map((a) => ({ ...a, dimension: a.dimension ?? null, invoice: a.invoice ?? null }));
      await this.metering.allocateRemittance(tx, { remittanceId, wanted, by: caller.keyId, reason: given.reason });
      await this.note(tx, caller, 'remittance.allocated', remittanceId, { reason: given.reason });
      return one(tx, remittanceId);
    });
  }

  @Post(':id/void')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'voidRemittance', summary: 'A wrong import counts nowhere any more; its reference may be imported again' })
  @ApiBody({ schema: schemaRef(voiding) })
  @ApiResponse({ status: 404, description: 'remittance.not_found' })
  @ApiResponse({ status: 409, description: 'remittance.voided' })
  async void(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const remittanceId = fromPublicId('rem', id);
    const given = parse(voiding, body);
    return this.db.ops(async (tx) => {
      await this.metering.voidRemittance(tx, { remittanceId, by: caller.keyId, reason: given.reason });
      await this.note(tx, caller, 'remittance.voided', remittanceId, given);
      return one(tx, remittanceId);
    });
  }

  private note(tx: Tx, caller: Principal, action: string, subject: string, detail: Record<string, unknown>): Promise<void> {
    return auditNote(this.audit, tx, caller, { action, subject: `remittance:${subject}`, detail });
  }
}

async function one(tx: Tx, remittanceId: string): Promise<Record<string, unknown>> {
  const [row] = (await listRemittances(tx, { limit: 1, after: null, remittanceId })).items;
  if (!row) throw new ProblemError('not_found', 'remittance.not_found', 'There is no such payout.');
  const allocations = await listAllocations(tx, remittanceId);
  return {
    ...view(row),
    allocations: allocations.map((a) => ({
      kind: a.kind,
      month: a.month,
      grain: a.grain,
      externalId: a.external_id,
      subscriptionId: a.subscription_id ? toPublicId('sub', a.subscription_id) : null,
      dimension: a.dimension,
      invoice: a.invoice,
      amount: a.amount,
    })),
    allocated: allocations[0]
      ? {
          version: allocations[0].version,
          by: allocations[0].made_by,
          at: allocations[0].made_at.toISOString(),
          reason: allocations[0].reason,
        }
      : null,
  };
}

const view = (r: RemittanceRow): Record<string, unknown> => ({
  id: toPublicId('rem', r.remittance_id),
  marketplace: r.marketplace,
  reference: r.reference,
  currency: r.currency,
  gross: r.gross,
  fee: r.fee,
  tax: r.tax,
  net: r.net,
  unexplained: r.unexplained,
  fx: r.fx,
  payout: r.payout,
  payoutCurrency: r.payout_currency,
  unallocated: r.unallocated,
  lines: r.lines,
  importedAt: r.imported_at.toISOString(),
  importedBy: r.imported_by,
  voidedAt: r.voided_at?.toISOString() ?? null,
  voidReason: r.void_reason,
});

const importView = (r: ImportResult): Record<string, unknown> => ({
  stored: r.stored,
  delimiter: r.delimiter,
  columns: r.columns,
  decimal: r.decimal,
  deductionsWereNegative: r.deductionsWereNegative,
  remittances: r.remittances.map(({ draft: { lines, ...draft }, ...x }) => ({
    id: x.remittanceId ? toPublicId('rem', x.remittanceId) : null,
    outcome: x.outcome,
    ...draft,
    lines: lines.length,
    allocations: x.allocations.map(({ subscriptionIds, ...a }) => ({
      ...a,
      subscriptionIds: subscriptionIds.map((s) => toPublicId('sub', s)),
    })),
  })),
});
