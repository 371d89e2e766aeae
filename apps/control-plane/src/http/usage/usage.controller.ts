import { Body, Controller, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ProblemError } from '#platform';
import { Metering } from '#metering';
import type { Principal } from '#tenancy';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';

const MAX_EVENTS = 5_000;

@ApiTags('usage')
@Controller('api/v1/usage-events')
export class UsageController {
  constructor(@Inject(Metering) private readonly metering: Metering) {}

  /** CloudEvents 1.0, one (`application/cloudevents+json`) or a batch (`application/cloudevents-batch+json`). Answered after the commit, item by item. */
  @Post()
  @HttpCode(200)
  @Allow('cell', 'operator')
  @ApiOperation({
    summary: 'Post usage events',
    description: 'Each item is answered: accepted, duplicate, conflict or rejected with a code. Repeating a batch is safe.',
  })
  @ApiConsumes('application/cloudevents+json', 'application/cloudevents-batch+json', 'application/json')
  @ApiBody({
    schema: {
      oneOf: [
        { type: 'object', additionalProperties: true },
        { type: 'array', maxItems: MAX_EVENTS, items: { type: 'object', additionalProperties: true } },
      ],
    },
  })
  async post(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const events = Array.isArray(body) ? body : [body];
    if (body === undefined || typeof body === 'string' || events.length === 0)
      throw new ProblemError('validation', 'usage.no_events', 'Send one CloudEvent or an array of them as JSON.');
    if (events.length > MAX_EVENTS)
      throw new ProblemError('too_large', 'usage.batch_too_large', `A batch may hold at most ${MAX_EVENTS} events.`);
    // A cell speaks for the source /cells/<cluster name>; its key carries that name.
    const principal =
      caller.kind === 'cell'
        ? { kind: caller.kind, keyId: caller.keyId, clusterId: caller.name }
        : { kind: caller.kind, keyId: caller.keyId };
    return this.metering.ingest(principal, events);
  }
}
