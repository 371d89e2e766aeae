import { Body, Controller, HttpCode, Inject, Post, Req } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { Metering } from '#metering';
import type { Principal } from '#tenancy';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { eventsOf, MAX_EVENTS } from './usage-body.js';
import { posterOf, POSTERS } from './usage-door.js';

/** What is not a plain single event of a key that was proved a moment ago; those take a shorter way (`usage-lane`). */
@ApiTags('usage')
@Controller('api/v1/usage-events')
export class UsageController {
  constructor(@Inject(Metering) private readonly metering: Metering) {}

  /** CloudEvents 1.0, one (`application/cloudevents+json`, or binary mode with `ce-…` headers) or a batch (`application/cloudevents-batch+json`); the body may be gzip. Answered after the commit, item by item. */
  @Post()
  @HttpCode(200)
  @Allow(...POSTERS)
  @ApiOperation({
    summary: 'Post usage events',
    description:
      'Each item is answered: accepted, duplicate, conflict or rejected with a code. Repeating a batch is safe. At most 5,000 events and 5 MiB (unpacked); the body may be gzip. 429 and 503 come with Retry-After: nothing was stored.',
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
  async post(@Caller() caller: Principal, @Req() request: FastifyRequest, @Body() body: unknown): Promise<unknown> {
    return this.metering.ingest(posterOf(caller), eventsOf(request, body));
  }
}
