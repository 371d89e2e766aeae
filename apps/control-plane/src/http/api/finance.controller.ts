import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, isUuid, ProblemError, type Database } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { getSubscription } from '#entitlements';
import { listCredits, listPrices, listUsageRecords, Metering } from '#metering';
import { Audit, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import { creditView, priceView } from './finance-views.js';

const decimal = z.string().regex(/^\d{1,18}(\.\d{1,12})?$/, 'decimal text, for example 0.025');
const currency = z.string().regex(/^[A-Z]{3}$/, 'three capital letters');
const text = z.string().trim().min(1).max(200);
const newPrice = apiSchema(
  'NewPrice',
  z.strictObject({
    marketplace: z.enum(MARKETPLACES),
    offerId: text,
    planId: text,
    dimension: text,
    subscriptionId: z.string().optional().describe("Negotiated for this purchase (private offer); without it, the listing's."),
    currency,
    unitPrice: decimal.describe('For one listed unit.'),
    effectiveFrom: z.iso.datetime(),
    source: z.string().trim().min(3).max(200).describe('Where it was read, for example "listing of 2026-01".'),
  }),
);
const newCredit = apiSchema(
  'NewCredit',
  z.strictObject({
    recordId: z.string(),
    units: decimal.describe('In listed units of the record.'),
    reason: z.string().trim().min(3).max(500),
    reference: text.optional().describe('AWS: the original invoice. Google: the case number.'),
  }),
);
const creditOutcome = apiSchema(
  'CreditOutcome',
  z.strictObject({
    state: z.enum(['completed', 'failed']),
    reference: text.describe("The marketplace's id of its decision."),
    amount: decimal.optional(),
    currency: currency.optional(),
  }),
);
const creditFilter = z.looseObject({ state: z.enum(['open', 'completed', 'failed']).optional(), subscriptionId: z.string().optional() });
const priceFilter = z.looseObject({ marketplace: z.enum(MARKETPLACES).optional() });

@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1')
export class FinanceController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Metering) private readonly metering: Metering,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Get('prices')
  @Allow('operator')
  @ApiOperation({ operationId: 'listPrices', summary: 'Prices as they were recorded, each with its source and date' })
  @ApiQuery({ name: 'marketplace', required: false, enum: MARKETPLACES })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async prices(@Query() query: unknown): Promise<unknown> {
    const { marketplace } = parse(priceFilter, query);
    const q = uuidPage(query);
    return pageOf(await this.db.ops((tx) => listPrices(tx, { ...q, ...(marketplace ? { marketplace } : {}) })), priceView);
  }

  @Post('prices')
  @HttpCode(201)
  @Allow('operator')
  @ApiOperation({ operationId: 'recordPrice', summary: 'What a unit costs from an instant on; a newer row replaces, none is changed' })
  @ApiBody({ schema: schemaRef(newPrice) })
  @ApiResponse({ status: 400, description: 'request.invalid, price.other_purchase' })
  async recordPrice(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const p = parse(newPrice, body);
    const subscriptionId = p.subscriptionId === undefined ? null : fromPublicId('sub', p.subscriptionId);
    return this.db.ops(async (tx) => {
      if (subscriptionId !== null) {
        const purchase = await getSubscription(tx, subscriptionId);
        if (purchase?.marketplace !== p.marketplace || purchase.external_offer_id !== p.offerId)
          throw new ProblemError('validation', 'price.other_purchase', 'The purchase is not one of this marketplace and offer.');
      }
      const price = await this.metering.recordPrice(tx, {
        marketplace: p.marketplace,
        externalOfferId: p.offerId,
        externalPlanId: p.planId,
        dimension: p.dimension,
        subscriptionId,
        currency: p.currency,
        unitPrice: p.unitPrice,
        effectiveFrom: new Date(p.effectiveFrom),
        source: p.source,
        recordedBy: caller.keyId,
      });
      await auditNote(this.audit, tx, caller, { action: 'price.recorded', subject: `price:${price.priceId}`, detail: p });
      return priceView(price);
    });
  }

  @Get('credits')
  @Allow('operator')
  @ApiOperation({ operationId: 'listCredits', summary: 'Money asked back for buyers, beside the records it is about' })
  @ApiQuery({ name: 'state', required: false, enum: ['open', 'completed', 'failed'] })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async credits(@Query() query: unknown): Promise<unknown> {
    const { state, subscriptionId } = parse(creditFilter, query);
    const q = uuidPage(query);
    return pageOf(
      await this.db.ops((tx) =>
        listCredits(tx, {
          ...q,
          ...(state ? { state } : {}),
          ...(subscriptionId ? { subscriptionId: fromPublicId('sub', subscriptionId) } : {}),
        }),
      ),
      creditView,
    );
  }

  @Post('credits')
  @HttpCode(201)
  @Allow('operator')
  @ApiOperation({ operationId: 'openCredit', summary: 'Ask units of one record back; the record stays as it is' })
  @ApiBody({ schema: schemaRef(newCredit) })
  @ApiResponse({ status: 400, description: 'request.invalid, credit.units, credit.invoice_missing, credit.case_missing' })
  @ApiResponse({ status: 404, description: 'usage_record.not_found' })
  @ApiResponse({ status: 409, description: 'credit.too_late, credit.more_than_accepted' })
  async openCredit(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const wanted = parse(newCredit, body);
    const recordId = fromPublicId('rec', wanted.recordId);
    return this.db.ops(async (tx) => {
      const [record] = (await listUsageRecords(tx, { limit: 1, recordId })).items;
      if (!record) throw new ProblemError('not_found', 'usage_record.not_found', 'There is no such usage record.');
      const { creditId } = await this.metering.openCredit(tx, {
        tenantId: record.tenant_id,
        subscriptionId: record.subscription_id,
        findingId: null,
        recordId,
        dimension: record.dimension,
        hour: record.hour,
        units: wanted.units,
        reference: wanted.reference ?? null,
        reason: wanted.reason,
        by: caller.keyId,
      });
      await auditNote(this.audit, tx, caller, {
        tenantId: record.tenant_id,
        action: 'credit.opened',
        subject: `credit:${creditId}`,
        detail: wanted,
      });
      return creditView((await listCredits(tx, { limit: 1, after: null, creditId })).items[0]!);
    });
  }

  @Post('credits/:id/outcome')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'endCredit', summary: 'What the marketplace decided about it; said once' })
  @ApiBody({ schema: schemaRef(creditOutcome) })
  @ApiResponse({ status: 400, description: 'request.invalid, credit.amount_missing' })
  @ApiResponse({ status: 404, description: 'credit.not_found' })
  @ApiResponse({ status: 409, description: 'credit.ended' })
  async endCredit(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const creditId = fromPublicId('crd', id);
    const { state, ...said } = parse(creditOutcome, body);
    return this.db.ops(async (tx) => {
      const row = await this.metering.endCredit(tx, { creditId, completed: state === 'completed', ...said, by: caller.keyId });
      await auditNote(this.audit, tx, caller, {
        tenantId: row.tenant_id,
        action: `credit.${state}`,
        subject: `credit:${creditId}`,
        detail: said,
      });
      return creditView(row);
    });
  }
}

function uuidPage(query: unknown): { limit: number; after: string | null } {
  const page = readPage(query);
  if (page.after !== null && !isUuid(page.after))
    throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
  return page;
}
