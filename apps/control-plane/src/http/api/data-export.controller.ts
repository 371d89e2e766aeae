import { Body, Controller, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { CLOCK, DATABASE, fromPublicId, type Clock, type Database, type Tx } from '#platform';
import type { PlacementView } from '#provisioning/engine';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { decideExport } from '../../processes/purge-data.js';
import { apiSchema, Refuses, schemaRef } from '../support/api-schemas.js';
import { actorOf, auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller, scoped } from '../support/scope.js';
import { parse } from '../support/validate.js';
import { placementView } from './placement-view.js';

const reason = z.string().trim().min(3).max(500).describe('Why; kept with the decision and in the audit trail.');
const confirming = apiSchema('ExportConfirmation', z.strictObject({ reason }));
const waiving = apiSchema('ExportWaiver', z.strictObject({ reason }));
const opening = apiSchema(
  'ExportAccess',
  z.strictObject({ hours: z.int32().min(1).max(720).describe('How long it can be read, from now.'), reason }),
);

@ApiTags('provisioning')
@ApiBearerAuth()
@Controller('api/v1')
export class DataExportController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Post('placements/:id/export/confirm')
  @HttpCode(200)
  @Allow('operator', 'tenant')
  @ApiOperation({
    operationId: 'confirmExport',
    summary: 'Say that the data of an ended placement was taken along or is not wanted',
    description: 'It is deleted at the end of the retention, not before. Access that was opened for taking it along ends.',
  })
  @ApiBody({ schema: schemaRef(confirming) })
  @Refuses(['not_found', 'placement.unknown'], ['conflict', 'placement.in_state'])
  confirm(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    return this.decide(caller, id, 'confirmed', parse(confirming, body).reason);
  }

  @Post('placements/:id/export/waive')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({
    operationId: 'waiveExport',
    summary: 'Let the data of an ended placement go without anybody having said that it was taken along',
    description: 'It is deleted at the end of the retention, not before.',
  })
  @ApiBody({ schema: schemaRef(waiving) })
  @Refuses(['not_found', 'placement.unknown'], ['conflict', 'placement.in_state'])
  waive(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    return this.decide(caller, id, 'waived', parse(waiving, body).reason);
  }

  @Post('placements/:id/export/access')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({
    operationId: 'openExport',
    summary: 'Open the data of an ended placement for reading, for a while, so that its owner can take it along',
    description: 'His keys work once more; writes are refused and nothing is billed. Asked again it moves the end.',
  })
  @ApiBody({ schema: schemaRef(opening) })
  @Refuses(
    ['not_found', 'placement.unknown'],
    ['conflict', 'placement.in_state'],
    ['unprocessable', 'export.unsupported: its driver cannot let somebody read and not write'],
  )
  open(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    const { hours, reason: why } = parse(opening, body);
    const until = new Date(this.clock.now().getTime() + hours * 3_600_000);
    return this.on(caller, id, async (tx, { placementId, tenantId }) => {
      const { operationId } = await this.p.engine.openExport(tx, placementId, { until, by: actorOf(caller), reason: why });
      await auditNote(this.p.audit, tx, caller, {
        tenantId,
        action: 'export.opened',
        subject: `placement:${placementId}`,
        detail: { reason: why, until: until.toISOString(), operationId },
      });
    });
  }

  private decide(caller: Principal, id: string, state: 'confirmed' | 'waived', why: string): Promise<unknown> {
    return this.on(caller, id, (tx, placement) => decideExport(this.p, tx, placement, { state, by: actorOf(caller), reason: why }));
  }

  /** What the caller may not see is unknown to him. */
  private async on(caller: Principal, id: string, work: (tx: Tx, placement: PlacementView) => Promise<void>): Promise<unknown> {
    const placementId = fromPublicId('pla', id);
    const placement = await scoped(this.db, caller, (tx) => this.p.engine.getPlacement(tx, placementId));
    return this.db.ops(async (tx) => {
      await work(tx, placement);
      return placementView(await this.p.engine.getPlacement(tx, placementId));
    });
  }
}
