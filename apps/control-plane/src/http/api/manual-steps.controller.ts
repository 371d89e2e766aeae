import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, toPublicId, type Database, type Tx } from '#platform';
import { ManualWork, type ManualStepView } from '#provisioning/drivers/manual';
import { Audit, type Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { judgeEtas } from '../../processes/late-eta.js';
import { Answers, apiSchema, Refuses, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { parse } from '../support/validate.js';

const instant = z.iso.datetime();
const reason = z.string().trim().min(3).max(500);
const etaWish = apiSchema('ManualStepEta', z.strictObject({ eta: instant.describe('Steps after it move by as much.'), reason }));
const evidenceWish = apiSchema(
  'ManualStepEvidence',
  z.strictObject({
    text: z.string().trim().min(3).max(2_000),
    url: z
      .url({ protocol: /^https?$/ })
      .max(2_000)
      .nullable()
      .default(null),
  }),
);
const signing = apiSchema('ManualStepSignOff', z.strictObject({ note: z.string().trim().max(500).nullable().default(null) }));
const refusing = apiSchema('ManualStepRefusal', z.strictObject({ reason }));
const manualStep = apiSchema(
  'ManualStep',
  z.object({
    id: z.string(),
    cluster: z.string(),
    work: z.enum(['build', 'change', 'remove']),
    workState: z.enum(['open', 'done', 'refused', 'cancelled']),
    step: z.int(),
    name: z.string(),
    asks: z.string(),
    owner: z.string().describe('The team that does it.'),
    needsEvidence: z.boolean(),
    eta: instant,
    state: z.enum(['open', 'done', 'refused']),
    evidence: z.array(z.object({ text: z.string(), url: z.string().nullable(), by: z.string(), at: instant })),
    signedBy: z.string().nullable().describe('The person whose key signed.'),
    signedAt: instant.nullable(),
    note: z.string().nullable(),
  }),
);
const manualSteps = apiSchema('ManualSteps', z.object({ items: z.array(manualStep) }));
const CLOSED = ['conflict', 'manual_step.closed: signed, refused, or its work is over'] as const;

const view = (s: ManualStepView): z.input<typeof manualStep> => ({
  id: toPublicId('mst', s.step_id),
  cluster: s.cluster_ref,
  work: s.kind,
  workState: s.operation_state,
  step: s.step_no,
  name: s.name,
  asks: s.asks,
  owner: s.owner,
  needsEvidence: s.needs_evidence,
  eta: s.eta.toISOString(),
  state: s.state,
  evidence: s.evidence.map((e) => ({ ...e })),
  signedBy: s.signed_by,
  signedAt: s.signed_at?.toISOString() ?? null,
  note: s.note,
});

/** The work of people on clusters that the manual driver builds. */
@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1/manual-steps')
export class ManualStepsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ManualWork) private readonly work: ManualWork,
    @Inject(Audit) private readonly audit: Audit,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listManualSteps', summary: 'What people have to do on clusters, by its ETA' })
  @ApiQuery({ name: 'cluster', required: false, description: 'By name.' })
  @ApiQuery({ name: 'all', required: false, schema: { type: 'boolean', default: false }, description: 'What is over, too.' })
  @Answers(200, manualSteps, 'Steps')
  async list(@Query() query: unknown): Promise<unknown> {
    const { cluster, all } = parse(
      z.looseObject({ cluster: z.string().max(64).optional(), all: z.enum(['true', 'false']).optional() }),
      query,
    );
    return { items: (await this.db.ops((tx) => this.work.list(tx, { clusterRef: cluster, all: all === 'true' }))).map(view) };
  }

  @Post(':id/eta')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'setManualStepEta', summary: 'When it will be through; a day after a purchase is void becomes a finding' })
  @ApiBody({ schema: schemaRef(etaWish) })
  @Answers(200, manualStep, 'The step')
  @Refuses(['not_found', 'manual_step.unknown'], CLOSED)
  eta(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const wish = parse(etaWish, body);
    return this.change(caller, id, 'manual_step.eta_set', wish, async (tx, stepId) => {
      const step = await this.work.setEta(tx, stepId, new Date(wish.eta));
      await this.tellLate(tx, step.cluster_ref);
      return step;
    });
  }

  @Post(':id/evidence')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'attachManualStepEvidence', summary: 'What shows that it was done; kept for good' })
  @ApiBody({ schema: schemaRef(evidenceWish) })
  @Answers(200, manualStep, 'The step')
  @Refuses(['not_found', 'manual_step.unknown'], CLOSED)
  evidence(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const wish = parse(evidenceWish, body);
    return this.change(caller, id, 'manual_step.evidence_attached', wish, (tx, stepId) =>
      this.work.attach(tx, stepId, { ...wish, by: caller.name }),
    );
  }

  @Post(':id/sign-off')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'signManualStep', summary: 'It is done; who signs is the holder of the key' })
  @ApiBody({ schema: schemaRef(signing) })
  @Answers(200, manualStep, 'The step')
  @Refuses(
    ['not_found', 'manual_step.unknown'],
    ['conflict', 'manual_step.closed; manual_step.not_due: a step before it is open'],
    ['unprocessable', 'manual_step.evidence_missing'],
  )
  sign(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const wish = parse(signing, body);
    return this.change(caller, id, 'manual_step.signed', wish, (tx, stepId) => this.work.signOff(tx, stepId, caller.name, wish.note));
  }

  @Post(':id/refuse')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'refuseManualStep',
    summary: 'It cannot be done: the work ends, what was signed stays signed for the next try',
  })
  @ApiBody({ schema: schemaRef(refusing) })
  @Answers(200, manualStep, 'The step')
  @Refuses(['not_found', 'manual_step.unknown'], CLOSED)
  refuse(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const wish = parse(refusing, body);
    return this.change(caller, id, 'manual_step.refused', wish, (tx, stepId) => this.work.refuse(tx, stepId, caller.name, wish.reason));
  }

  private async tellLate(tx: Tx, clusterRef: string): Promise<void> {
    const [cluster] = await tx.query<{ cluster_id: string }>('select cluster_id from clusters where name = $1', [clusterRef]);
    const open = await this.work.list(tx, { clusterRef });
    const last = Math.max(...open.map((s) => s.eta.getTime()));
    if (cluster && open.length > 0) await judgeEtas(this.p, tx, cluster.cluster_id, new Date(last));
  }

  /** What was done and by whom, in one transaction. */
  private change(
    caller: Principal,
    id: string,
    action: string,
    detail: Record<string, unknown>,
    work: (tx: Tx, stepId: string) => Promise<ManualStepView>,
  ): Promise<unknown> {
    const stepId = fromPublicId('mst', id);
    return this.db.ops(async (tx) => {
      const step = await work(tx, stepId);
      await auditNote(this.audit, tx, caller, {
        action,
        subject: `cluster:${step.cluster_ref}`,
        detail: { ...detail, stepId, name: step.name },
      });
      return view(step);
    });
  }
}
