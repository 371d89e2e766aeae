import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, isUuid, ProblemError, type Database, type Tx } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { listRunLines, listRuns, RECONCILIATION_KINDS } from '#metering';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { requestRun } from '../../processes/reconcile.js';
import { Answers, apiSchema, Refuses, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';
import { lineView, reconciliation, reconciliationLines, reconciliationPage, runView } from './reconciliation-views.js';

const DAY_MS = 86_400_000;
const LONGEST_DAYS = 400;
const VERDICTS = ['equal', 'not_yet_visible', 'missing_there', 'missing_here', 'quantity', 'not_comparable', 'foreign'] as const;

const wish = apiSchema(
  'ReconciliationWish',
  z.strictObject({
    kinds: z.array(z.enum(RECONCILIATION_KINDS)).min(1).optional().describe('All of them, unless said.'),
    marketplace: z.enum(MARKETPLACES).optional().describe('All that are configured, unless said. Placements are always compared whole.'),
    from: z.iso.datetime().optional().describe('Whole hours from here on; unless said, midnight (UTC) two days ago.'),
    to: z.iso.datetime().optional().describe('And before this instant; unless said, last midnight (UTC).'),
    via: z.enum(['api', 'command']).default('api').describe('Kept with the run.'),
  }),
);

@ApiTags('metering')
@ApiBearerAuth()
@Controller('api/v1/reconciliations')
export class ReconciliationsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Post()
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'startReconciliation',
    summary: 'Compare: the sum law, placements, what the marketplaces accepted or reported, and purchases; in the background, as one run',
    description:
      'Differences are findings; one that a later run does not see any more settles itself (`fix_mapping`). The span holds for `sum_law`, `read_back` and `usage_report`; purchases and placements are compared as they are now. The schedule does this daily, and purchases hourly.',
  })
  @ApiBody({ schema: schemaRef(wish) })
  @Answers(202, reconciliation, 'The run, queued')
  @Refuses(
    ['validation', 'request.invalid, reconciliation.empty_span, reconciliation.span_too_long'],
    ['not_found', 'marketplace.not_configured'],
    ['conflict', 'reconciliation.under_way: one of these comparisons goes on already; the detail names its run'],
  )
  async start(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const wanted = parse(wish, body);
    const marketplace = wanted.marketplace ?? null;
    if (marketplace && !this.p.marketplaces.has(marketplace))
      throw new ProblemError('not_found', 'marketplace.not_configured', `This installation does not sell on ${marketplace}.`);
    const { from, to } = spanOf(wanted, this.p.clock.now());
    const kinds = wanted.kinds ?? RECONCILIATION_KINDS;
    return this.db.ops(async (tx) => {
      const runId = await requestRun(this.p, tx, { kinds, marketplace, from, to, requestedBy: caller.name, via: wanted.via });
      await auditNote(this.p.audit, tx, caller, {
        action: 'reconciliation.requested',
        subject: `reconciliation:${runId}`,
        detail: { kinds, marketplace, from: from.toISOString(), to: to.toISOString() },
      });
      return one(tx, runId);
    });
  }

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listReconciliations', summary: 'Runs of comparisons, newest first, with what each comparison found' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  @Answers(200, reconciliationPage, 'Runs')
  async list(@Query() query: unknown): Promise<unknown> {
    const q = readPage(query);
    if (q.after !== null && !isUuid(q.after))
      throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
    return pageOf(await this.db.ops((tx) => listRuns(tx, q)), runView);
  }

  @Get(':id')
  @Allow('operator')
  @ApiOperation({ operationId: 'getReconciliation', summary: 'One run: how far it is, and what each comparison found' })
  @Answers(200, reconciliation, 'The run')
  @Refuses(['not_found', 'reconciliation.not_found'])
  get(@Param('id') id: string): Promise<unknown> {
    return this.db.ops((tx) => one(tx, fromPublicId('rcn', id)));
  }

  @Get(':id/lines')
  @Allow('operator')
  @ApiOperation({
    operationId: 'listReconciliationLines',
    summary: "The marketplaces' word against ours, line by line at its own grain",
    description: '`shadow` lines hold records that another kit sends: what differs there is shown, and is no finding.',
  })
  @ApiQuery({ name: 'verdict', required: false, enum: VERDICTS })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  @Answers(200, reconciliationLines, 'Lines')
  @Refuses(['not_found', 'reconciliation.not_found'])
  async lines(@Param('id') id: string, @Query() query: unknown): Promise<unknown> {
    const runId = fromPublicId('rcn', id);
    const { verdict } = parse(z.looseObject({ verdict: z.enum(VERDICTS).optional() }), query);
    return this.db.ops(async (tx) => {
      await one(tx, runId);
      return pageOf(await listRunLines(tx, { runId, ...readPage(query), ...(verdict ? { verdict } : {}) }), lineView);
    });
  }
}

function spanOf(wanted: { from?: string | undefined; to?: string | undefined }, now: Date): { from: Date; to: Date } {
  const midnight = new Date(Math.floor(now.getTime() / DAY_MS) * DAY_MS);
  const to = wanted.to ? new Date(wanted.to) : midnight;
  const from = wanted.from ? new Date(wanted.from) : new Date(to.getTime() - 2 * DAY_MS);
  if (!(to > from)) throw new ProblemError('validation', 'reconciliation.empty_span', '`to` must lie after `from`.');
  if (to.getTime() - from.getTime() > LONGEST_DAYS * DAY_MS)
    throw new ProblemError('validation', 'reconciliation.span_too_long', `At most ${LONGEST_DAYS} days in one run.`);
  return { from, to };
}

async function one(tx: Tx, runId: string): Promise<unknown> {
  const [run] = (await listRuns(tx, { limit: 1, after: null, runId })).items;
  if (!run) throw new ProblemError('not_found', 'reconciliation.not_found', 'There is no such reconciliation.');
  return runView(run);
}
