import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, ProblemError, type Database, type Tx } from '#platform';
import { FINDING_KINDS, listFindings, Metering, PriceBook, SETTLEMENTS, type FindingRow } from '#metering';
import { Audit, Keys, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { parse, readForeignPage } from '../support/validate.js';
import { findingView } from './finance-views.js';

const filter = z.looseObject({
  kind: z.enum(FINDING_KINDS).optional(),
  open: z.enum(['true', 'false']).optional(),
  subscriptionId: z.string().optional(),
});
const settlement = apiSchema(
  'FindingSettlement',
  z.strictObject({
    settlement: z.enum(SETTLEMENTS),
    reason: z.string().trim().min(3).max(500).describe('Why; it is kept with the finding and in the audit trail.'),
    reference: z
      .string()
      .trim()
      .min(1)
      .max(200)
      .optional()
      .describe('The invoice (`invoice_outside`; `claim_refund` at AWS) or the case number (`claim_refund` at Google).'),
  }),
);

@ApiTags('finance')
@ApiBearerAuth()
@Controller('api/v1/findings')
export class FindingsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Metering) private readonly metering: Metering,
    @Inject(Audit) private readonly audit: Audit,
    @Inject(Keys) private readonly keys: Keys,
  ) {}

  @Get()
  @Allow('operator')
  @ApiOperation({
    operationId: 'listFindings',
    summary: 'Named differences with units, money at the effective price, deadline, evidence, and how they may be or were settled',
  })
  @ApiQuery({ name: 'kind', required: false, enum: FINDING_KINDS })
  @ApiQuery({ name: 'open', required: false, enum: ['true', 'false'] })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Query() query: unknown): Promise<unknown> {
    const { kind, open, subscriptionId } = parse(filter, query);
    return this.db.ops(async (tx) => {
      const page = await listFindings(tx, {
        ...readForeignPage(query),
        ...(subscriptionId ? { subscriptionId: fromPublicId('sub', subscriptionId) } : {}),
        ...(kind ? { kind } : {}),
        ...(open ? { open: open === 'true' } : {}),
      });
      return { items: await views(tx, page.items), nextCursor: page.nextCursor };
    });
  }

  @Get(':id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getFinding', summary: 'One of them' })
  @ApiResponse({ status: 404, description: 'finding.unknown' })
  get(@Param('id') id: string): Promise<unknown> {
    return this.db.ops((tx) => one(tx, fromPublicId('fin', id)));
  }

  @Post(':id/settlement')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'settleFinding',
    summary:
      'Settle a difference: what the settlement says is done, or refused with words what to do. A write_off is proposed and waits for a second person',
  })
  @ApiBody({ schema: schemaRef(settlement) })
  @ApiResponse({ status: 400, description: 'request.invalid, finding.reference_missing, credit.invoice_missing, credit.case_missing' })
  @ApiResponse({ status: 404, description: 'finding.unknown' })
  @ApiResponse({
    status: 409,
    description:
      'finding.already_settled, finding.settlement_not_for_kind, finding.window_closed, finding.not_waiting, finding.nothing_to_resubmit, finding.nothing_to_carry, finding.no_later_hour, finding.nothing_held, finding.release_the_task, finding.still_unmapped, finding.price_still_unknown, finding.still_differs, finding.nothing_to_claim, credit.too_late',
  })
  async settle(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const findingId = fromPublicId('fin', id);
    const wanted = parse(settlement, body);
    return this.db.ops(async (tx) => {
      const end = await this.metering.settleByPerson(tx, {
        findingId,
        settlement: wanted.settlement,
        reason: wanted.reason,
        ...(wanted.reference ? { reference: wanted.reference } : {}),
        by: { keyId: caller.keyId, name: caller.name },
      });
      await this.record(tx, caller, findingId, end === 'proposed' ? 'finding.write_off_proposed' : 'finding.settled', wanted);
      return one(tx, findingId);
    });
  }

  @Post(':id/settlement/confirmation')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'confirmWriteOff',
    summary: "The second person's yes to a proposed write-off; who that is comes from the key",
  })
  @ApiResponse({ status: 403, description: 'finding.second_person_needed' })
  @ApiResponse({ status: 404, description: 'finding.unknown' })
  @ApiResponse({ status: 409, description: 'finding.no_proposal, finding.already_settled, finding.window_open' })
  async confirm(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const findingId = fromPublicId('fin', id);
    return this.db.ops(async (tx) => {
      const keyIssuedAt = await this.keys.issuedAt(tx, caller.keyId);
      await this.metering.confirmWriteOff(tx, { findingId, by: { keyId: caller.keyId, name: caller.name, keyIssuedAt } });
      await this.record(tx, caller, findingId, 'finding.write_off_confirmed', {});
      return one(tx, findingId);
    });
  }

  private record(tx: Tx, caller: Principal, findingId: string, action: string, detail: Record<string, unknown>): Promise<void> {
    return auditNote(this.audit, tx, caller, { action, subject: `finding:${findingId}`, detail });
  }
}

async function one(tx: Tx, findingId: string): Promise<Record<string, unknown>> {
  const [row] = (await listFindings(tx, { limit: 1, findingId })).items;
  if (!row) throw new ProblemError('not_found', 'finding.unknown', 'There is no such finding.');
  return (await views(tx, [row]))[0]!;
}

/** Amounts are those of the price in force now in that hour: a price that is told later revalues, units never change. */
async function views(tx: Tx, rows: FindingRow[]): Promise<Record<string, unknown>[]> {
  const book = await PriceBook.load(
    tx,
    rows.flatMap((r) => (r.subscription_id && r.units ? [r.subscription_id] : [])),
  );
  return rows.map((f) =>
    findingView(
      f,
      f.subscription_id && f.units && f.dimension && f.hour ? book.money(f.subscription_id, f.dimension, f.hour, f.units) : null,
    ),
  );
}
