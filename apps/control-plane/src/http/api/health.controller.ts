import { Controller, Get, Inject, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { CLOCK, DATABASE, METRICS, type Clock, type Database, type Metrics } from '#platform';
import { RuntimeInfo } from '../../runtime-info.js';
import { Open } from '../support/auth.guard.js';

@ApiTags('health')
@Controller()
export class HealthController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(RuntimeInfo) private readonly runtime: RuntimeInfo,
    @Inject(METRICS) private readonly metrics: Metrics,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** The process runs. */
  @Get('healthz')
  @Open('liveness, says nothing')
  healthz(): { status: string } {
    return { status: 'ok' };
  }

  /** It can serve: started, not stopping, database answers. Says which database and queue it runs on. */
  @Get('readyz')
  @Open('readiness, says only the modes')
  async readyz(@Res({ passthrough: true }) reply: FastifyReply): Promise<Record<string, unknown>> {
    const database = await this.db
      .ops((tx) => tx.query('select 1'))
      .then(
        () => 'ok',
        () => 'not answering',
      );
    const ready = this.runtime.state === 'ready' && database === 'ok';
    reply.status(ready ? 200 : 503);
    return {
      status: ready ? 'ready' : this.runtime.state,
      role: this.runtime.role,
      ...this.runtime.modes,
      databaseAnswer: database,
      businessTime: this.clock.now().toISOString(),
    };
  }

  @Get('metrics')
  @Open('numbers without names of tenants; keep it inside your network')
  async read(@Res() reply: FastifyReply): Promise<void> {
    const due = await this.db.ops((tx) =>
      tx.query<{ due: string; parked: string }>(
        `select count(*) filter (where state in ('queued', 'running') and next_run_at <= $1) as due, count(*) filter (where state = 'parked') as parked from tasks where state <> 'done'`,
        [this.clock.now()],
      ),
    );
    this.metrics.gauge('berth_tasks_due', 'Tasks that are due and not finished').set(Number(due[0]?.due ?? 0));
    this.metrics.gauge('berth_tasks_parked', 'Lanes that stand still until a person looks').set(Number(due[0]?.parked ?? 0));
    await reply.type(this.metrics.registry.contentType).send(await this.metrics.registry.metrics());
  }
}
