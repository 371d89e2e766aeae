import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, isUuid, ProblemError, type Database } from '#platform';
import { ProvisioningEngine } from '#provisioning/engine';
import { Audit, type Principal } from '#tenancy';
import { Answers, apiSchema, Refuses, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import { conformancePage, conformanceRun, conformanceView } from './conformance-views.js';

const wish = apiSchema('ConformanceRunWish', z.strictObject({ suite: z.enum(['azcopy']).default('azcopy') }));

@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1')
export class ConformanceController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProvisioningEngine) private readonly engine: ProvisioningEngine,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Post('placements/:id/conformance-runs')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'startConformanceRun',
    summary: "Judge a placement's Blob endpoint by the calls AzCopy makes, rule by rule, with evidence; in the background",
    description:
      'Works in a container of its own in an account that no meter reads, and removes both. Append blobs are out of contract and never tried.',
  })
  @ApiBody({ schema: schemaRef(wish) })
  @Answers(202, conformanceRun, 'The run, queued')
  @Refuses(
    ['not_found', 'placement.unknown'],
    ['conflict', 'placement.in_state: it does not serve; conformance.under_way'],
    ['unprocessable', 'conformance.unsupported: its driver lets no suite in'],
  )
  async start(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { suite } = parse(wish, body);
    const placementId = fromPublicId('pla', id);
    return this.db.ops(async (tx) => {
      const { runId } = await this.engine.requestConformanceRun(tx, placementId, caller.name);
      await auditNote(this.audit, tx, caller, {
        action: 'conformance.requested',
        subject: `placement:${placementId}`,
        detail: { runId, suite },
      });
      return conformanceView(await this.engine.getConformanceRun(tx, runId));
    });
  }

  @Get('placements/:id/conformance-runs')
  @Allow('operator')
  @ApiOperation({ operationId: 'listConformanceRuns', summary: 'Runs against one placement, newest first' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  @Answers(200, conformancePage, 'Runs')
  @Refuses(['not_found', 'placement.unknown'])
  async list(@Param('id') id: string, @Query() query: unknown): Promise<unknown> {
    const { limit, after } = readPage(query);
    if (after !== null && !isUuid(after))
      throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
    const placementId = fromPublicId('pla', id);
    return this.db.ops(async (tx) => {
      await this.engine.getPlacement(tx, placementId);
      return pageOf(await this.engine.listConformanceRuns(tx, placementId, after ? { limit, after } : { limit }), conformanceView);
    });
  }

  @Get('conformance-runs/:id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getConformanceRun', summary: 'One run: how far it is, and what each rule saw' })
  @Answers(200, conformanceRun, 'The run')
  @Refuses(['not_found', 'conformance.unknown'])
  async get(@Param('id') id: string): Promise<unknown> {
    return conformanceView(await this.db.ops((tx) => this.engine.getConformanceRun(tx, fromPublicId('cfr', id))));
  }
}
