import { Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { DATABASE, fromPublicId, ProblemError, toPublicId, type Database, type Tx } from '#platform';
import { MARKETPLACES, type Marketplace, type MarketplaceAdapter } from '#marketplaces/core';
import { getDriftRun, listDriftRuns, type DriftLineRow, type DriftRunRow } from '#entitlements';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { requestDriftAsRun } from '../../processes/reconcile.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, readPage } from '../support/validate.js';

@ApiTags('drift')
@ApiBearerAuth()
@Controller('api/v1')
export class DriftController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Post('marketplaces/:marketplace/drift-runs')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'startDriftRun',
    summary:
      "Compare the marketplace's list of purchases with ours, as a reconciliation of that one kind; answers the drift run that is under way, if one is",
  })
  @ApiResponse({ status: 404, description: 'marketplace.not_configured' })
  @ApiResponse({ status: 409, description: 'drift.not_listable: this marketplace cannot list purchases' })
  async startDriftRun(@Caller() caller: Principal, @Param('marketplace') marketplace: string): Promise<unknown> {
    const adapter = this.adapterOf(marketplace);
    if (!adapter.listAll)
      throw new ProblemError('conflict', 'drift.not_listable', `${marketplace} cannot list its purchases; there is nothing to compare.`);
    return this.db.ops(async (tx) => {
      const id = await requestDriftAsRun(this.p, tx, adapter.marketplace, caller.keyId);
      await auditNote(this.p.audit, tx, caller, { action: 'drift_run.requested', subject: `drift_run:${id}`, detail: { marketplace } });
      return this.view(tx, id);
    });
  }

  @Get('marketplaces/:marketplace/drift-runs')
  @Allow('operator')
  @ApiOperation({ operationId: 'listDriftRuns', summary: 'Comparisons with this marketplace, newest first' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  @ApiResponse({ status: 404, description: 'marketplace.not_configured' })
  async listDriftRuns(@Param('marketplace') marketplace: string, @Query() query: unknown): Promise<unknown> {
    const adapter = this.adapterOf(marketplace);
    return pageOf(await this.db.ops((tx) => listDriftRuns(tx, adapter.marketplace, readPage(query))), runView);
  }

  @Get('marketplaces/:marketplace/drift-runs/:id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getDriftRun', summary: 'One comparison: each purchase that differed, and what became of it' })
  @ApiResponse({ status: 404, description: 'marketplace.not_configured, drift_run.not_found' })
  async getDriftRun(@Param('marketplace') marketplace: string, @Param('id') id: string): Promise<unknown> {
    const adapter = this.adapterOf(marketplace);
    return this.db.ops((tx) => this.view(tx, fromPublicId('dri', id), adapter.marketplace));
  }

  private adapterOf(marketplace: string): MarketplaceAdapter {
    const known = MARKETPLACES.find((m) => m === marketplace);
    if (!known || !this.p.marketplaces.has(known))
      throw new ProblemError('not_found', 'marketplace.not_configured', `This installation does not sell on ${marketplace.slice(0, 40)}.`);
    return this.p.marketplaces.get(known);
  }

  private async view(tx: Tx, id: string, marketplace?: Marketplace): Promise<unknown> {
    const run = await getDriftRun(tx, id);
    if (!run || (marketplace && run.marketplace !== marketplace))
      throw new ProblemError('not_found', 'drift_run.not_found', 'There is no such drift run of this marketplace.');
    return { ...runView(run), verdicts: run.verdicts, lines: run.lines.map(lineView) };
  }
}

const at = (d: Date | null): string | null => d?.toISOString() ?? null;
const runView = (r: DriftRunRow): Record<string, unknown> => ({
  id: toPublicId('dri', r.drift_run_id),
  marketplace: r.marketplace,
  requestedBy: r.requested_by,
  state: r.state,
  counts: r.counts,
  error: r.error,
  createdAt: at(r.created_at),
  comparedAt: at(r.compared_at),
  completedAt: at(r.completed_at),
});
const lineView = (l: DriftLineRow): Record<string, unknown> => ({
  externalSubscriptionId: l.external_subscription_id,
  subscriptionId: l.subscription_id ? toPublicId('sub', l.subscription_id) : null,
  verdict: l.verdict,
  differences: l.differences,
  note: l.note,
  judgedAt: at(l.judged_at),
});
