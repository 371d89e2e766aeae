import { Body, Controller, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, ProblemError, type Database, type Tx } from '#platform';
import { getSubscription, type SubscriptionRecord } from '#entitlements';
import type { BuildLimits, LimitOverrideRow } from '#provisioning/engine';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { Answers, apiSchema, Refuses, schemaRef } from '../support/api-schemas.js';
import { actorOf, auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { parse } from '../support/validate.js';

const reason = z.string().trim().min(3).max(500).describe('Why; kept with the decision and in the audit trail.');
const cost = z.strictObject({
  amountPerHour: z.string().regex(/^(0|[1-9][0-9]{0,8})([.][0-9]{1,8})?$/, 'a plain decimal'),
  currency: z.string().regex(/^[A-Z]{3}$/, 'three capitals'),
});
const limitFields = {
  maxNodes: z.int32().min(1).nullable().optional().describe('Left out: as the plan says; null: any number.'),
  maxCostPerHour: cost.nullable().optional().describe('Left out: as the plan says; null: at any cost.'),
};
const wish = apiSchema(
  'BuildLimitsOverride',
  z
    .strictObject({ ...limitFields, reason })
    .refine((w) => w.maxNodes !== undefined || w.maxCostPerHour !== undefined, { error: 'says nothing: name a limit' }),
);
const removal = apiSchema('BuildLimitsRemoval', z.strictObject({ reason }));
const limits = z.object(limitFields).nullable();
const decision = z.object({ limits, reason: z.string(), by: z.string(), at: z.iso.datetime() });
const answer = apiSchema(
  'BuildLimits',
  z.object({
    plan: limits.describe("What the purchase's plan says; null: as much as it takes."),
    override: decision.nullable().describe("An operator's word over it, while it holds."),
    effective: limits,
    history: z.array(decision).describe('Newest first; `limits` null is a taking back.'),
  }),
  'How much may be built for one purchase.',
);

@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1/subscriptions/:id/build-limits')
export class BuildLimitsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'getBuildLimits', summary: 'How much may be built for a purchase, by whose word' })
  @Answers(200, answer, 'The limits')
  @Refuses(['not_found', 'subscription.not_found'])
  get(@Param('id') id: string): Promise<unknown> {
    return this.db.ops((tx) => this.view(tx, fromPublicId('sub', id)));
  }

  @Post()
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'overrideBuildLimits',
    summary: 'Let more or less be built for one purchase than its plan says, from now on; replaces an earlier word',
    description: 'An order that waits (`not_ready`) is tried again within five minutes; a cluster that stopped goes on by a retry.',
  })
  @ApiBody({ schema: schemaRef(wish) })
  @Answers(200, answer, 'The limits')
  @Refuses(['not_found', 'subscription.not_found'])
  override(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { reason: why, ...own } = parse(wish, body);
    return this.decide(caller, id, own, why);
  }

  @Post('remove')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'removeBuildLimits', summary: "Take an operator's word back: the plan's limits hold again" })
  @ApiBody({ schema: schemaRef(removal) })
  @Answers(200, answer, 'The limits')
  @Refuses(['not_found', 'subscription.not_found'], ['conflict', 'limits.none: there is nothing to take back'])
  remove(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    return this.decide(caller, id, null, parse(removal, body).reason);
  }

  private decide(caller: Principal, id: string, own: BuildLimits | null, why: string): Promise<unknown> {
    const subscriptionId = fromPublicId('sub', id);
    return this.db.ops(async (tx) => {
      const { tenantId } = await this.purchase(tx, subscriptionId);
      // Of two words at once the second one sees the first.
      await this.p.subscriptions.lock(tx, subscriptionId);
      const [held] = (await this.p.engine.readLimits(tx, subscriptionId, null)).history;
      if (own === null && !held?.limits)
        throw new ProblemError('conflict', 'limits.none', "Nothing holds over the plan's limits that could be taken back.");
      await this.p.engine.overrideLimits(tx, { subscriptionId, limits: own, by: actorOf(caller), reason: why });
      await auditNote(this.p.audit, tx, caller, {
        tenantId,
        action: own ? 'build_limits.overridden' : 'build_limits.restored',
        subject: `subscription:${subscriptionId}`,
        detail: { reason: why, limits: own, before: held?.limits ?? null },
      });
      return this.view(tx, subscriptionId);
    });
  }

  private async purchase(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord> {
    if (!(await getSubscription(tx, subscriptionId)))
      throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription.');
    return this.p.subscriptions.get(tx, subscriptionId);
  }

  private async view(tx: Tx, subscriptionId: string): Promise<unknown> {
    const { planVersionId } = await this.purchase(tx, subscriptionId);
    const plan = planVersionId ? await this.p.catalog.get(tx, planVersionId) : null;
    const { override, history, ...read } = await this.p.engine.readLimits(tx, subscriptionId, plan?.build ?? null);
    return { ...read, override: override && decided(override), history: history.map(decided) };
  }
}

const decided = (row: LimitOverrideRow): Record<string, unknown> => ({
  limits: row.limits,
  reason: row.reason,
  by: row.decided_by,
  at: row.decided_at.toISOString(),
});
