import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, toPublicId, type Database, type Tx } from '#platform';
import { ProvisioningEngine, type OperationView } from '#provisioning/engine';
import { Audit, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { actorOf, auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller, scoped } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import { placementView } from './placement-view.js';

const reason = z.string().trim().min(3).max(500).describe('Why; kept in the audit trail.');
const retrying = apiSchema('OperationRetry', z.strictObject({ reason }));
const cancelling = apiSchema('OperationCancellation', z.strictObject({ reason }));

const operationView = ({ operationId, tenantId, subscriptionId, clusterId, subjectId, ...o }: OperationView): Record<string, unknown> => ({
  id: toPublicId('op', operationId),
  tenantId: tenantId ? toPublicId('ten', tenantId) : null,
  subscriptionId: subscriptionId ? toPublicId('sub', subscriptionId) : null,
  clusterId: toPublicId('clu', clusterId),
  subjectId: toPublicId(o.subjectKind === 'cluster' ? 'clu' : 'pla', subjectId),
  ...o,
});

@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1')
export class ProvisioningController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProvisioningEngine) private readonly engine: ProvisioningEngine,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Get('placements')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listPlacements', summary: 'Where tenants are served, newest first' })
  async listPlacements(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = paging(query);
    return pageOf(mutable(await scoped(this.db, caller, (tx) => this.engine.listPlacements(tx, q))), placementView);
  }

  @Get('placements/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getPlacement', summary: 'One placement' })
  async getPlacement(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return placementView(await scoped(this.db, caller, (tx) => this.engine.getPlacement(tx, fromPublicId('pla', id))));
  }

  /** Secrets, asked for on purpose; each look is audited. */
  @Post('placements/:id/credentials')
  @HttpCode(200)
  @Allow('tenant')
  @ApiOperation({ operationId: 'showCredentials', summary: 'Endpoint, account and keys of your own placement' })
  async showCredentials(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const placementId = fromPublicId('pla', id);
    const shown = await scoped(this.db, caller, (tx) => this.engine.credentials(tx, placementId));
    await this.db.ops((tx) =>
      auditNote(this.audit, tx, caller, {
        tenantId: caller.kind === 'tenant' ? caller.tenantId : null,
        action: 'credentials.shown',
        subject: `placement:${placementId}`,
      }),
    );
    return {
      endpoint: shown.endpoint,
      accountName: shown.accountName,
      keys: shown.keys.map((k) => ({ id: k.id, secret: k.secretBase64 })),
    };
  }

  @Get('operations')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listOperations', summary: 'Long-running work, newest first, visible while it runs' })
  async listOperations(@Caller() caller: Principal, @Query() query: unknown): Promise<unknown> {
    const q = paging(query);
    return pageOf(mutable(await scoped(this.db, caller, (tx) => this.engine.listOperations(tx, q))), operationView);
  }

  @Get('operations/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getOperation', summary: 'One operation with its log' })
  async getOperation(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return operationView(await scoped(this.db, caller, (tx) => this.engine.getOperation(tx, fromPublicId('op', id))));
  }

  @Post('operations/:id/retry')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({ operationId: 'retryOperation', summary: 'Try a failed operation again, once its cause is removed' })
  @ApiBody({ schema: schemaRef(retrying) })
  @ApiResponse({ status: 404, description: 'operation.unknown' })
  @ApiResponse({ status: 409, description: 'operation.in_state, operation.not_repeatable' })
  retryOperation(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { reason } = parse(retrying, body);
    return this.decide(caller, id, 'operation.retried', reason, (tx, operationId) => this.engine.retryOperation(tx, operationId));
  }

  @Post('operations/:id/cancel')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'cancelOperation',
    summary: 'Stop work on a cluster before its next step; what is done is not undone',
  })
  @ApiBody({ schema: schemaRef(cancelling) })
  @ApiResponse({ status: 404, description: 'operation.unknown' })
  @ApiResponse({ status: 409, description: 'operation.in_state, operation.not_cancellable, operation.too_late' })
  cancelOperation(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { reason } = parse(cancelling, body);
    return this.decide(caller, id, 'operation.cancelled', reason, (tx, operationId) =>
      this.engine.cancelOperation(tx, operationId, { by: actorOf(caller), reason }),
    );
  }

  /** What a person decides about an operation, and why, in one transaction. */
  private decide(
    caller: Principal,
    id: string,
    action: string,
    reason: string,
    wish: (tx: Tx, operationId: string) => Promise<void>,
  ): Promise<unknown> {
    const operationId = fromPublicId('op', id);
    return this.db.ops(async (tx) => {
      await wish(tx, operationId);
      await auditNote(this.audit, tx, caller, { action, subject: `operation:${operationId}`, detail: { reason } });
      return operationView(await this.engine.getOperation(tx, operationId));
    });
  }
}

const paging = (query: unknown): { limit: number; after?: string } => {
  const { limit, after } = readPage(query);
  return after ? { limit, after } : { limit };
};
const mutable = <T>(p: { items: readonly T[]; nextCursor: string | null }): { items: T[]; nextCursor: string | null } => ({
  items: [...p.items],
  nextCursor: p.nextCursor,
});
