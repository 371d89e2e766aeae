import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, toPublicId, type Database, type Tx } from '#platform';
import { ProvisioningEngine, type ClusterView } from '#provisioning/engine';
import { Audit, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { actorOf, auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const reason = z.string().trim().min(3).max(500).describe('Why; kept in the audit trail.');
const cordoning = apiSchema('ClusterCordoning', z.strictObject({ reason }));
const retiring = apiSchema(
  'ClusterRetirement',
  z.strictObject({
    confirm: z.string().max(64).describe('The name of the cluster, once more: this cannot be undone.'),
    reason,
  }),
);

const resizing = apiSchema(
  'ClusterResize',
  z
    .strictObject({
      shape: z.string().max(64).optional().describe('One that its driver offers.'),
      nodes: z.int().min(1).max(10_000).optional(),
      capacityBytes: z
        .string()
        .regex(/^[1-9]\d{0,30}$/)
        .nullable()
        .optional()
        .describe('Bytes as decimal text; null is what the shape has.'),
      reason,
    })
    .refine(
      (r) => r.shape !== undefined || r.nodes !== undefined || r.capacityBytes !== undefined,
      'Say what shall change: shape, nodes or capacityBytes.',
    ),
);

const upgrading = apiSchema(
  'ClusterUpgrade',
  z
    .strictObject({
      version: z.string().min(1).max(64).describe('One that its driver offers, later than the one it runs.'),
      notBefore: z.iso.datetime().optional().describe('It waits, booked, and begins then; left out, it begins at once.'),
      notAfter: z.iso.datetime().optional().describe('With `notBefore`: it is given up where it could not begin until then.'),
      reason,
    })
    .refine((w) => w.notAfter === undefined || w.notBefore !== undefined, { error: 'needs notBefore', path: ['notAfter'] }),
);
const approving = apiSchema(
  'PlanApproval',
  z.strictObject({
    destroys: z.array(z.string().max(256)).max(10_000).describe('Every name in `destroys` of the plan, once more: their data is lost.'),
    reason,
  }),
);
const rejecting = apiSchema('PlanRejection', z.strictObject({ reason }));

const planView = <T extends { operationId: string }>(p: T | null): unknown => p && { ...p, operationId: toPublicId('op', p.operationId) };
const clusterView = ({ clusterId, plan, booked, ...c }: ClusterView): Record<string, unknown> => ({
  id: toPublicId('clu', clusterId),
  ...c,
  plan: planView(plan),
  booked: booked && { ...booked, operationId: toPublicId('op', booked.operationId) },
});

@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1/clusters')
export class ClustersController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProvisioningEngine) private readonly engine: ProvisioningEngine,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listClusters', summary: 'Operator-owned capacity, newest first' })
  async list(@Query() query: unknown): Promise<unknown> {
    const { limit, after } = readPage(query);
    const page = await this.db.ops((tx) => this.engine.listClusters(tx, after ? { limit, after } : { limit }));
    return pageOf({ items: [...page.items], nextCursor: page.nextCursor }, clusterView);
  }

  @Get(':id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getCluster', summary: 'One cluster: phase, what was seen of it last, what stopped it' })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  async get(@Param('id') id: string): Promise<unknown> {
    return clusterView(await this.db.ops((tx) => this.engine.getCluster(tx, fromPublicId('clu', id))));
  }

  @Post(':id/cordon')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'cordonCluster', summary: 'No more placements go there; those that are there stay' })
  @ApiBody({ schema: schemaRef(cordoning) })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  @ApiResponse({ status: 409, description: 'cluster.in_state' })
  cordon(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(cordoning, body);
    return this.change(caller, id, 'cluster.cordoned', said.reason, (tx, clusterId) => this.engine.cordonCluster(tx, clusterId));
  }

  @Post(':id/uncordon')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'uncordonCluster', summary: 'It takes placements again' })
  @ApiBody({ schema: schemaRef(cordoning) })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  @ApiResponse({ status: 409, description: 'cluster.in_state: it is being taken down' })
  uncordon(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(cordoning, body);
    return this.change(caller, id, 'cluster.uncordoned', said.reason, (tx, clusterId) => this.engine.uncordonCluster(tx, clusterId));
  }

  @Post(':id/resize')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'resizeCluster',
    summary: 'Another shape, number of nodes or capacity, while it serves; a plan that would lose data waits for a decision',
  })
  @ApiBody({ schema: schemaRef(resizing) })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  @ApiResponse({ status: 409, description: 'cluster.in_state' })
  @ApiResponse({ status: 422, description: 'cluster.shape_unknown, cluster.size_unsupported, cluster.resize_unsupported' })
  resize(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(resizing, body);
    return this.change(caller, id, 'cluster.resized', said.reason, async (tx, clusterId) => {
      const { operationId } = await this.engine.resizeCluster(tx, clusterId, { ...said, by: actorOf(caller) });
      return { operationId: operationId && toPublicId('op', operationId) };
    });
  }

  @Post(':id/upgrade')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'upgradeCluster',
    summary:
      'Another version of its software by restart, now or in a window, then proved again; one cluster of a driver and region at a time',
  })
  @ApiBody({ schema: schemaRef(upgrading) })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  @ApiResponse({ status: 409, description: 'cluster.in_state, cluster.upgrade_busy' })
  @ApiResponse({ status: 422, description: 'cluster.upgrade_unsupported, cluster.version_unsupported, cluster.window_over' })
  upgrade(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(upgrading, body);
    const { notBefore, notAfter, ...version } = said;
    return this.change(caller, id, notBefore ? 'cluster.upgrade_booked' : 'cluster.upgraded', said.reason, async (tx, clusterId) => {
      const wish = { ...version, by: actorOf(caller) };
      const window = notBefore && { notBefore: new Date(notBefore), notAfter: notAfter ? new Date(notAfter) : null };
      const { operationId } = window
        ? await this.engine.bookUpgrade(tx, clusterId, wish, window)
        : await this.engine.upgradeCluster(tx, clusterId, wish);
      return { operationId: operationId && toPublicId('op', operationId) };
    });
  }

  @Post(':id/retire')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'retireCluster',
    summary: 'Take an empty cluster down for good: deleted, then looked for, and retired only when nothing of it is left',
  })
  @ApiBody({ schema: schemaRef(retiring) })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  @ApiResponse({ status: 409, description: 'cluster.not_empty: placements are on it, kept data included; cluster.in_state' })
  @ApiResponse({ status: 422, description: 'cluster.not_confirmed' })
  retire(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(retiring, body);
    return this.change(caller, id, 'cluster.retired', said.reason, async (tx, clusterId) => {
      const { operationId } = await this.engine.retireCluster(tx, clusterId, { ...said, by: actorOf(caller) });
      return { operationId: operationId && toPublicId('op', operationId) };
    });
  }

  @Get(':id/plans')
  @Allow('operator')
  @ApiOperation({ operationId: 'listClusterPlans', summary: 'Plans that destroy data, newest first, and who decided on them' })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  async plans(@Param('id') id: string): Promise<unknown> {
    const clusterId = fromPublicId('clu', id);
    const items = await this.db.ops(async (tx) => {
      await this.engine.getCluster(tx, clusterId);
      return this.engine.listPlans(tx, clusterId);
    });
    return { items: items.map(planView) };
  }

  @Post(':id/plans/:hash/approve')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'approveClusterPlan',
    summary: 'Have exactly this plan executed; the data on the nodes that it names is lost',
  })
  @ApiBody({ schema: schemaRef(approving) })
  @ApiResponse({ status: 404, description: 'cluster.unknown, plan.unknown' })
  @ApiResponse({ status: 409, description: 'plan.expired, plan.in_state: decided otherwise, stale or over' })
  @ApiResponse({ status: 422, description: 'plan.not_confirmed: not all that is lost is named, or something else' })
  approve(@Caller() caller: Principal, @Param('id') id: string, @Param('hash') hash: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(approving, body);
    return this.decide(caller, id, hash, { decision: 'approve', destroys: said.destroys, reason: said.reason });
  }

  @Post(':id/plans/:hash/reject')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({ operationId: 'rejectClusterPlan', summary: 'Give this plan up; the cluster keeps what it has' })
  @ApiBody({ schema: schemaRef(rejecting) })
  @ApiResponse({ status: 404, description: 'cluster.unknown, plan.unknown' })
  @ApiResponse({ status: 409, description: 'plan.expired, plan.in_state: decided otherwise, stale or over' })
  reject(@Caller() caller: Principal, @Param('id') id: string, @Param('hash') hash: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(rejecting, body);
    return this.decide(caller, id, hash, { decision: 'reject', reason: said.reason });
  }

  /** The approver is who holds the credential, never a name in the body. */
  private decide(
    caller: Principal,
    id: string,
    hash: string,
    said: { decision: 'approve'; destroys: string[]; reason: string } | { decision: 'reject'; reason: string },
  ): Promise<unknown> {
    const action = said.decision === 'approve' ? 'cluster.plan_approved' : 'cluster.plan_rejected';
    return this.change(
      caller,
      id,
      action,
      said.reason,
      async (tx, clusterId) => {
        const decided = await this.engine.decidePlan(tx, clusterId, hash, { ...said, by: actorOf(caller) });
        return { decision: planView(decided) };
      },
      { planHash: hash },
    );
  }

  /** The wish and who had it, in one transaction. */
  private change(
    caller: Principal,
    id: string,
    action: string,
    why: string,
    wish: (tx: Tx, clusterId: string) => Promise<object | void>,
    detail: Record<string, string> = {},
  ): Promise<unknown> {
    const clusterId = fromPublicId('clu', id);
    return this.db.ops(async (tx) => {
      const more = await wish(tx, clusterId);
      await auditNote(this.audit, tx, caller, { action, subject: `cluster:${clusterId}`, detail: { reason: why, ...detail } });
      return { ...clusterView(await this.engine.getCluster(tx, clusterId)), ...more };
    });
  }
}
