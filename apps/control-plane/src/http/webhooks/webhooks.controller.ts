import { Controller, HttpCode, Inject, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ProblemError } from '#platform';
import { MARKETPLACES, type Marketplace } from '#marketplaces/core';
import { ProcessContext } from '../../processes/context.js';
import { receiveWebhook } from '../../processes/receive-webhook.js';
import { Open } from '../support/auth.guard.js';
import type { RawRequest } from '../support/configure-http.js';

const MAX_BODY = 256 * 1024;

/** Notifications of the marketplaces. The adapter verifies the sender; the raw body is stored before anything is done. */
@ApiExcludeController()
@Controller('webhooks')
export class WebhooksController {
  constructor(@Inject(ProcessContext) private readonly processes: ProcessContext) {}

  @Post([':marketplace', ':marketplace/eventbridge', ':marketplace/pubsub', ':marketplace/sns', ':marketplace/managed/resource'])
  @HttpCode(200)
  @Open('the marketplace proves itself: Entra JWT, OIDC token, signature of SNS, shared secret, or the secret of managed applications')
  async receive(
    @Param('marketplace') marketplace: string,
    @Req() request: RawRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<unknown> {
    if (!(MARKETPLACES as readonly string[]).includes(marketplace))
      throw new ProblemError('not_found', 'request.no_such_route', 'There is nothing at this address.');
    const body = request.rawBody ?? Buffer.alloc(0);
    const headers = flat(request.headers);
    if (body.length > MAX_BODY) {
      await this.processes.inbox.refuse(
        `${marketplace}.webhook`,
        'webhook.too_large',
        `${body.length} bytes`,
        headers,
        body.subarray(0, 4_000).toString('utf8'),
      );
      throw new ProblemError('too_large', 'webhook.too_large', `A notification may have at most ${MAX_BODY} bytes.`);
    }
    const answer = await receiveWebhook(this.processes, marketplace as Marketplace, {
      headers,
      query: flat(request.query as Record<string, unknown>),
      body: body.toString('utf8'),
    });
    reply.status(answer.status);
    return answer.body ?? '';
  }
}

/** One text for each name; Node gives names in lower case, a query as it was written. */
function flat(values: Record<string, unknown>): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const name of Object.keys(values)) {
    const value = values[name];
    if (value !== undefined) texts[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : String(value);
  }
  return texts;
}
