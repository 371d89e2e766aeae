import { Body, Controller, Get, HttpCode, Inject, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, ProblemError, type Database, type Tx } from '#platform';
import { ProvisioningEngine, type Readiness } from '#provisioning/engine';
import { Audit, type Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { planWish } from '../../processes/plan-gate.js';
import { Answers, Refuses, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { parse } from '../support/validate.js';
import {
  decisionView,
  gateDecision,
  gateDecisions,
  gateWish,
  planView,
  plansReadiness,
  shape,
  shapes,
  shapeView,
  shapeWish,
  stop,
  stopView,
  stopWish,
} from './readiness-views.js';

@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1')
export class ReadinessController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProvisioningEngine) private readonly engine: ProvisioningEngine,
    @Inject(ProcessContext) private readonly p: ProcessContext,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Get('readiness')
  @Allow('operator')
  @ApiOperation({
    operationId: 'listReadiness',
    summary: 'Every plan that is sold, in each of its regions: whether it may be sold, changed to and built there, gate by gate',
  })
  @Answers(200, plansReadiness, 'Plans')
  list(): Promise<unknown> {
    return this.db.ops(async (tx) => {
      const items = [];
      for (const plan of await this.p.catalog.newest(tx))
        for (const { id } of plan.regions) items.push(planView(plan, id, await this.verdict(tx, planWish(plan, id))));
      return { items };
    });
  }

  @Get('readiness/decisions')
  @Allow('operator')
  @ApiOperation({ operationId: 'listGateDecisions', summary: 'Who has opened or closed which gate, and why; newest first' })
  @ApiQuery({ name: 'variant', required: false })
  @ApiQuery({ name: 'gate', required: false })
  @Answers(200, gateDecisions, 'Decisions')
  async decisions(@Query() query: unknown): Promise<unknown> {
    const filter = parse(z.looseObject({ variant: z.string().max(40).optional(), gate: z.string().max(64).optional() }), query);
    return { items: (await this.db.ops((tx) => this.engine.listGateDecisions(tx, filter))).map(decisionView) };
  }

  @Post('readiness/decisions')
  @HttpCode(201)
  @Allow('operator')
  @ApiOperation({
    operationId: 'decideGate',
    summary: 'Open or close a gate of a variant, at a marketplace, in a region; the newest decision holds, and of several the worst',
  })
  @ApiBody({ schema: schemaRef(gateWish) })
  @Answers(201, gateDecision, 'The decision')
  @Refuses(['unprocessable', 'readiness.needs_proof: only a proof makes it green'])
  decide(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const wish = parse(gateWish, body);
    return this.audited(caller, 'readiness.decided', `gate:${wish.gate}`, wish, async (tx, by) =>
      decisionView(await this.engine.decideGate(tx, { ...wish, by })),
    );
  }

  @Get('shapes')
  @Allow('operator')
  @ApiOperation({ operationId: 'listShapes', summary: 'The shape catalogue: which shapes were tried, by variant, region and version' })
  @Answers(200, shapes, 'Shapes')
  async shapes(): Promise<unknown> {
    return { items: (await this.db.ops((tx) => this.engine.listShapes(tx))).map(shapeView) };
  }

  @Post('shapes')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'putShape',
    summary:
      'Say that a shape was validated, or is not supported; the narrowest entry holds. Outside local_dev one without an entry is refused',
  })
  @ApiBody({ schema: schemaRef(shapeWish) })
  @Answers(200, shape, 'The entry')
  shape(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const { osVersion, ...wish } = parse(shapeWish, body);
    return this.audited(caller, 'shape.decided', `shape:${wish.shape}`, { ...wish, osVersion }, async (tx, by) =>
      shapeView(await this.engine.decideShape(tx, { ...wish, os_version: osVersion, decided_by: by })),
    );
  }

  @Get('provisioning/stop')
  @Allow('operator')
  @ApiOperation({ operationId: 'getCreationStop', summary: 'Whether the creation of clusters is stopped everywhere' })
  @Answers(200, stop, 'The switch')
  async stopState(): Promise<unknown> {
    return stopView(await this.db.ops((tx) => this.engine.readStop(tx)));
  }

  @Post('provisioning/stop')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'setCreationStop', summary: 'Stop the creation and growth of clusters everywhere, or let it go on' })
  @ApiBody({ schema: schemaRef(stopWish) })
  @Answers(200, stop, 'The switch')
  stop(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const wish = parse(stopWish, body);
    return this.audited(caller, wish.on ? 'provisioning.stopped' : 'provisioning.resumed', 'provisioning', wish, async (tx, by) =>
      stopView(await this.engine.stopCreating(tx, { ...wish, by })),
    );
  }

  private async verdict(tx: Tx, wish: Parameters<ProvisioningEngine['judgeReadiness']>[1]): Promise<Readiness | { why: string }> {
    try {
      return await this.engine.judgeReadiness(tx, wish);
    } catch (error) {
      if (error instanceof ProblemError) return { why: error.detail };
      throw error;
    }
  }

  /** The decision and who took it, in one transaction. */
  private audited<T>(
    caller: Principal,
    action: string,
    subject: string,
    detail: Record<string, unknown>,
    work: (tx: Tx, by: string) => Promise<T>,
  ): Promise<T> {
    return this.db.ops(async (tx) => {
      const done = await work(tx, caller.name);
      await auditNote(this.audit, tx, caller, { action, subject, detail });
      return done;
    });
  }
}
