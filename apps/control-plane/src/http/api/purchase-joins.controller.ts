import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { fromPublicId, isUuid, ProblemError, toPublicId } from '#platform';
import { JOIN_STATES, listJoins, lockJoin, type PurchaseJoinRow } from '#entitlements';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { joinPurchases, rejectJoin } from '../../processes/join-purchases.js';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { actorOf } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const filter = z.looseObject({ state: z.enum([...JOIN_STATES, 'all']).default('waiting') });
const reason = z.string().trim().min(3).max(500);
const licenseArn = z
  .string()
  .trim()
  .min(1)
  .max(300)
  .describe('The ARN of the licence as AWS spells it in calls: `arn:aws:license-manager::…:license:l-…`.');
const order = apiSchema(
  'PurchaseJoinOrder',
  z.strictObject({
    subscriptionId: z.string().describe('The purchase under the customer identifier of an old listing.'),
    licenseArn,
    reason: reason.describe('How you know that both are one purchase; kept in the audit trail.'),
  }),
);
const approval = apiSchema(
  'PurchaseJoinApproval',
  z.strictObject({
    reason: reason.describe('How you know that both are one purchase; kept in the audit trail.'),
    licenseArn: licenseArn.optional().describe('Needed where the buyer has not opened the page under the licence yet.'),
  }),
);
const rejection = apiSchema(
  'PurchaseJoinRejection',
  z.strictObject({ reason: reason.describe('Why they are two purchases; kept in the audit trail.') }),
);

@ApiTags('purchase joins')
@ApiBearerAuth()
@Controller('api/v1/purchase-joins')
export class PurchaseJoinsController {
  constructor(@Inject(ProcessContext) private readonly p: ProcessContext) {}

  @Get()
  @Allow('operator')
  @ApiOperation({
    operationId: 'listPurchaseJoins',
    summary:
      'Purchases of old AWS listings and the licences that may be the same purchase, by buyer and product, oldest first. AWS does not tell: a person decides',
  })
  @ApiQuery({ name: 'state', required: false, enum: [...JOIN_STATES, 'all'], description: 'waiting unless told' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Query() query: unknown): Promise<unknown> {
    const { state } = parse(filter, query);
    const page = readPage(query);
    if (page.after !== null && !isUuid(page.after))
      throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
    return pageOf(await this.p.db.ops((tx) => listJoins(tx, { state: state === 'all' ? null : state }, page)), view);
  }

  @Post()
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'joinPurchase',
    summary: 'This purchase goes on under this licence, from the hour on in which the listing is metered by licence. Cannot be taken back',
  })
  @ApiBody({ schema: schemaRef(order) })
  @ApiResponse({ status: 404, description: 'subscription.not_found' })
  @ApiResponse({ status: 409, description: 'join.not_joinable, join.decided' })
  async join(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const given = parse(order, body);
    const formerId = fromPublicId('sub', given.subscriptionId);
    return this.p.db.ops(async (tx) =>
      view(
        await joinPurchases(this.p, tx, {
          formerId,
          nextId: null,
          spelling: given.licenseArn,
          reason: given.reason,
          actor: actorOf(caller),
        }),
      ),
    );
  }

  @Post(':id/approve')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'approvePurchaseJoin', summary: 'Both are one purchase. Cannot be taken back' })
  @ApiBody({ schema: schemaRef(approval) })
  @ApiResponse({ status: 404, description: 'join.not_found' })
  @ApiResponse({ status: 409, description: 'join.decided, join.not_joinable' })
  approve(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const given = parse(approval, body);
    return this.p.db.ops(async (tx) => {
      const pair = await lockJoin(tx, fromPublicId('pjn', id));
      const wish = { ...pair, spelling: given.licenseArn ?? null, reason: given.reason, actor: actorOf(caller) };
      return view(await joinPurchases(this.p, tx, wish));
    });
  }

  @Post(':id/reject')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'rejectPurchaseJoin', summary: 'They are two purchases: the buyer of the licence may set it up for itself' })
  @ApiBody({ schema: schemaRef(rejection) })
  @ApiResponse({ status: 404, description: 'join.not_found' })
  @ApiResponse({ status: 409, description: 'join.decided' })
  reject(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const given = parse(rejection, body);
    return this.p.db.ops(async (tx) => {
      const pair = await lockJoin(tx, fromPublicId('pjn', id));
      return view(await rejectJoin(this.p, tx, pair, { reason: given.reason, actor: actorOf(caller) }));
    });
  }
}

const view = (j: PurchaseJoinRow): Record<string, unknown> => ({
  id: toPublicId('pjn', j.join_id),
  marketplace: j.marketplace,
  state: j.state,
  subscriptionId: toPublicId('sub', j.former_id),
  externalSubscriptionId: j.former_external_id,
  nextSubscriptionId: toPublicId('sub', j.next_id),
  nextExternalSubscriptionId: j.next_external_id,
  buyerAccountId: j.buyer_account_id,
  reason: j.reason,
  decidedBy: j.decided_by,
  createdAt: j.created_at.toISOString(),
  decidedAt: j.decided_at?.toISOString() ?? null,
});
