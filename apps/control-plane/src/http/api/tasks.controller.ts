import { Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, fromPublicId, listTasks, TASK_STATES, toPublicId, type Database, type TaskListRow } from '#platform';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { releaseParked } from '../../processes/release-parked.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const filter = z.looseObject({ state: z.enum(TASK_STATES).default('parked') });

@ApiTags('tasks')
@ApiBearerAuth()
@Controller('api/v1')
export class TasksController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(ProcessContext) private readonly p: ProcessContext,
  ) {}

  @Get('tasks')
  @Allow('operator')
  @ApiOperation({ operationId: 'listTasks', summary: 'Tasks of one state; parked ones hold up their lane until they are released' })
  @ApiQuery({ name: 'state', required: false, schema: { type: 'string', enum: [...TASK_STATES], default: 'parked' } })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async listTasks(@Query() query: unknown): Promise<unknown> {
    const { state } = parse(filter, query);
    return pageOf(await this.db.ops((tx) => listTasks(tx, { ...readPage(query), state })), taskView);
  }

  @Post('tasks/:id/release')
  @HttpCode(202)
  @Allow('operator')
  @ApiOperation({ operationId: 'releaseTask', summary: 'Let a parked task run again; its lane goes on with it' })
  @ApiResponse({ status: 404, description: 'task.not_found' })
  @ApiResponse({ status: 409, description: 'task.not_parked' })
  async releaseTask(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const taskId = fromPublicId('tsk', id);
    return this.db.ops(async (tx) => taskView(await releaseParked(this.p, tx, taskId, caller)));
  }
}

const taskView = (t: TaskListRow): Record<string, unknown> => ({
  id: toPublicId('tsk', t.task_id),
  lane: t.lane,
  handler: t.handler,
  payload: t.payload_ref,
  state: t.state,
  attempts: t.attempts,
  nextRunAt: t.next_run_at.toISOString(),
  lastError: t.last_error,
  createdAt: t.created_at.toISOString(),
  finishedAt: t.finished_at?.toISOString() ?? null,
});
