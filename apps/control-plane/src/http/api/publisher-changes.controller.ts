import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, ProblemError, toPublicId, type Database, type Tx } from '#platform';
import { getPublisherChange, listPublisherChanges, type PublisherChangeRow } from '#entitlements';
import type { PublisherChange } from '#marketplaces/core';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { requestPublisherChange } from '../../processes/publisher-change.js';
import { requestRejection } from '../../processes/reject-purchase.js';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { actorOf } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const reason = z.string().trim().min(3).max(500).describe('Why; it is kept with the change and shown in the timeline.');
/** A marketplace asks for the buyer's consent before a publisher changes a purchase (contract azure §3). */
const buyerConsent = z.literal(true, { error: 'must be true: the buyer has to have agreed to it' });
const wish = apiSchema(
  'PublisherChange',
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('plan'), toPlan: z.string().trim().min(1).max(200), reason, buyerConsent }),
    z.strictObject({ kind: z.literal('quantity'), toQuantity: z.number().int().min(1).max(1_000_000), reason, buyerConsent }),
    z.strictObject({
      kind: z.literal('cancel'),
      reason,
      buyerConsent,
      confirm: z.string().describe("The purchase's externalSubscriptionId once more: a cancellation cannot be taken back."),
    }),
    z.strictObject({
      kind: z.literal('reject'),
      reason: reason.describe('For the buyer: Google gets it, and the landing page shows it.'),
      alsoBuyer: z.boolean().default(false).describe("The buyer's sign-up too, where it waits for us."),
      confirm: z.string().describe("The purchase's externalSubscriptionId once more: a rejection cannot be taken back."),
    }),
  ]),
);

@ApiTags('subscriptions')
@ApiBearerAuth()
@Controller('api/v1/subscriptions/:id/changes')
export class PublisherChangesController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Post()
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'startPublisherChange',
    summary:
      "Change the plan or quantity of a purchase, or cancel it, at its marketplace and with the buyer's consent; or reject an order that waits (Google)",
  })
  @ApiBody({ schema: schemaRef(wish) })
  @ApiResponse({ status: 400, description: 'request.invalid, change.not_confirmed' })
  @ApiResponse({ status: 404, description: 'subscription.not_found' })
  @ApiResponse({
    status: 409,
    description:
      'change.under_way, change.not_supported, change.read_only, change.nothing_to_change, change.refused, change.stored_more, change.stored_unknown, change.no_room, change.too_late, subscription.over',
  })
  async start(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const subscriptionId = fromPublicId('sub', id);
    const given = parse(wish, body);
    const by = { requestedBy: caller.keyId, actor: actorOf(caller) };
    if (given.kind === 'reject')
      return this.db.ops(async (tx) => {
        await this.confirmed(tx, subscriptionId, given.confirm);
        return view(await requestRejection(this.p, tx, { subscriptionId, reason: given.reason, alsoBuyer: given.alsoBuyer, ...by }));
      });
    const change: PublisherChange =
      given.kind === 'plan'
        ? { kind: 'plan', toExternalPlanId: given.toPlan }
        : given.kind === 'quantity'
          ? { kind: 'quantity', toQuantity: given.toQuantity }
          : { kind: 'cancel' };
    return this.db.ops(async (tx) => {
      if (given.kind === 'cancel') await this.confirmed(tx, subscriptionId, given.confirm);
      return view(
        await requestPublisherChange(this.p, tx, {
          subscriptionId,
          change,
          reason: given.reason,
          ...by,
        }),
      );
    });
  }

  private async confirmed(tx: Tx, subscriptionId: string, confirm: string): Promise<void> {
    const { externalSubscriptionId } = await this.p.subscriptions.get(tx, subscriptionId);
    if (confirm !== externalSubscriptionId)
      throw new ProblemError(
        'validation',
        'change.not_confirmed',
        'To end a purchase for good, repeat its externalSubscriptionId in `confirm`.',
      );
  }

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listPublisherChanges', summary: 'Changes and cancellations that we asked for, newest first' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Param('id') id: string, @Query() query: unknown): Promise<unknown> {
    const subscriptionId = fromPublicId('sub', id);
    return this.db.ops(async (tx) => {
      await this.p.subscriptions.get(tx, subscriptionId);
      return pageOf(await listPublisherChanges(tx, subscriptionId, readPage(query)), view);
    });
  }

  @Get(':changeId')
  @Allow('operator')
  @ApiOperation({ operationId: 'getPublisherChange', summary: 'One of them, while it runs and afterwards' })
  @ApiResponse({ status: 404, description: 'change.not_found' })
  async get(@Param('id') id: string, @Param('changeId') changeId: string): Promise<unknown> {
    const row = await this.db.ops((tx) => getPublisherChange(tx, fromPublicId('pch', changeId)));
    if (!row || row.subscription_id !== fromPublicId('sub', id))
      throw new ProblemError('not_found', 'change.not_found', 'This purchase has no such change.');
    return view(row);
  }
}

const view = (r: PublisherChangeRow): Record<string, unknown> => ({
  id: toPublicId('pch', r.publisher_change_id),
  subscriptionId: toPublicId('sub', r.subscription_id),
  kind: r.kind,
  toPlan: r.to_external_plan_id,
  toQuantity: r.to_quantity,
  reason: r.reason,
  ...(r.kind === 'reject' ? { alsoBuyer: r.also_buyer } : {}),
  requestedBy: r.requested_by,
  state: r.state,
  externalOperationId: r.external_operation_id,
  error: r.error_code ? { code: r.error_code, detail: r.error_detail } : null,
  createdAt: r.created_at.toISOString(),
  sentAt: r.sent_at?.toISOString() ?? null,
  updatedAt: r.updated_at.toISOString(),
});
