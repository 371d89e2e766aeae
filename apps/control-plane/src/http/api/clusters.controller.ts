import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, toPublicId, type Database, type Tx } from '#platform';
import { ProvisioningEngine, type ClusterView } from '#provisioning/engine';
import { Audit, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
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

const clusterView = ({ clusterId, ...c }: ClusterView): Record<string, unknown> => ({ id: toPublicId('clu', clusterId), ...c });

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
    summary: 'Another shape, number of nodes or capacity, while it serves; a plan that would lose data is refused and the size stays',
  })
  @ApiBody({ schema: schemaRef(resizing) })
  @ApiResponse({ status: 404, description: 'cluster.unknown' })
  @ApiResponse({ status: 409, description: 'cluster.in_state' })
  @ApiResponse({ status: 422, description: 'cluster.shape_unknown, cluster.size_unsupported, cluster.resize_unsupported' })
  resize(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const said = parse(resizing, body);
    return this.change(caller, id, 'cluster.resized', said.reason, async (tx, clusterId) => {
      const { operationId } = await this.engine.resizeCluster(tx, clusterId, { ...said, by: `${caller.kind}:${caller.keyId}` });
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
      const { operationId } = await this.engine.retireCluster(tx, clusterId, { ...said, by: `${caller.kind}:${caller.keyId}` });
      return { operationId: operationId && toPublicId('op', operationId) };
    });
  }

  /** The wish and who had it, in one transaction. */
  private change(
    caller: Principal,
    id: string,
    action: string,
    why: string,
    wish: (tx: Tx, clusterId: string) => Promise<object | void>,
  ): Promise<unknown> {
    const clusterId = fromPublicId('clu', id);
    return this.db.ops(async (tx) => {
      const more = await wish(tx, clusterId);
      await this.audit.record(tx, {
        tenantId: null,
        actor: `${caller.kind}:${caller.keyId}`,
        action,
        subject: `cluster:${clusterId}`,
        detail: { reason: why },
      });
      return { ...clusterView(await this.engine.getCluster(tx, clusterId)), ...more };
    });
  }
}
