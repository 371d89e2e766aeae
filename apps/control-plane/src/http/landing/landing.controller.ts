import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError, Sealer } from '#platform';
import { MARKETPLACES, type Marketplace } from '#marketplaces/core';
import { ProcessContext } from '../../processes/context.js';
import { openLanding } from '../../processes/open-landing.js';
import { Open } from '../support/auth.guard.js';
import type { RawRequest } from '../support/configure-http.js';
import { landingView, type LandingView } from './landing-view.js';

/** The field that carries the token; Google's and Amazon's come as form posts from another site. */
const TOKEN_FIELD: Record<Marketplace, string> = { azure: 'token', gcp: 'x-gcp-marketplace-token', aws: 'x-amzn-marketplace-token' };

const FORM = 'application/x-www-form-urlencoded';
/** A token has at most 8 KiB; the rest of a marketplace's form is a few words. */
const MAX_FORM = 64 * 1024;

@ApiTags('landing')
@Controller('landing')
export class LandingController {
  constructor(
    @Inject(ProcessContext) private readonly processes: ProcessContext,
    @Inject(Sealer) private readonly sealer: Sealer,
  ) {}

  @Get('api/sessions/:sessionId')
  @Open('the unguessable session id of a resolved landing token is the proof')
  view(@Param('sessionId') sessionId: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<LandingView> {
    reply.header('cache-control', 'no-store');
    return this.processes.db.ops(async (tx) =>
      landingView(this.processes, tx, sessionId, await this.processes.landings.find(tx, sessionId)),
    );
  }

  @Post('api/sessions/:sessionId/details')
  @HttpCode(202)
  @Open('the unguessable session id of a resolved landing token is the proof')
  async complete(
    @Param('sessionId') sessionId: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<LandingView | string> {
    const view = await this.processes.db.ops(async (tx) => {
      const done = await this.processes.landings.complete(tx, sessionId, body);
      await this.processes.audit.record(tx, {
        tenantId: done.tenantId,
        actor: 'landing visitor',
        action: 'landing.completed',
        subject: `subscription:${done.subscriptionId}`,
      });
      return landingView(this.processes, tx, sessionId, await this.processes.landings.find(tx, sessionId));
    });
    // A plain form (no script) goes back to its page; a client gets the view.
    if (typeOf(request) === FORM) {
      reply.status(303).header('location', `/landing/s/${sessionId}`);
      return '';
    }
    reply.header('cache-control', 'no-store');
    return view;
  }

  @Get(':marketplace')
  @Open('a buyer arrives with a landing token')
  async arrive(
    @Param('marketplace') marketplace: string,
    @Query() query: Record<string, string>,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (marketplace !== 'azure')
      throw new ProblemError('not_found', 'request.no_such_route', 'Buyers of this marketplace arrive by a form post.');
    await this.open('azure', query, reply);
  }

  @Post(':marketplace')
  @Open('a buyer arrives with a landing token in a form posted from the marketplace')
  async arriveByForm(
    @Param('marketplace') marketplace: string,
    @Body() body: Record<string, string> | undefined,
    @Req() request: RawRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (!(MARKETPLACES as readonly string[]).includes(marketplace))
      throw new ProblemError('not_found', 'request.no_such_route', 'There is nothing at this address.');
    const bytes = request.rawBody?.length ?? 0;
    if (bytes > MAX_FORM)
      await this.refuse(marketplace, new ProblemError('too_large', 'landing.too_large', `The form may have at most ${MAX_FORM} bytes.`));
    if (bytes > 0 && typeOf(request) !== FORM)
      await this.refuse(marketplace, new ProblemError('validation', 'landing.not_a_form', `A buyer's browser posts a form (${FORM}).`));
    await this.open(marketplace as Marketplace, body ?? {}, reply);
  }

  /** Kept without its body: a token may be in it. */
  private async refuse(marketplace: string, problem: ProblemError): Promise<never> {
    await this.processes.inbox.refuse(`${marketplace}.landing`, problem.code, problem.detail, {}, '');
    throw problem;
  }

  private async open(marketplace: Marketplace, fields: Record<string, string>, reply: FastifyReply): Promise<void> {
    const texts = Object.fromEntries(Object.entries(fields).filter((e): e is [string, string] => typeof e[1] === 'string'));
    const opened = await openLanding(this.processes, this.sealer, marketplace, TOKEN_FIELD[marketplace], texts);
    const to = opened.ok
      ? `/landing/s/${opened.sessionId}`
      : `/landing/problem?code=${encodeURIComponent(opened.code)}&marketplace=${marketplace}`;
    // 303: the follow-up is a GET without the token in its address.
    await reply.status(303).header('location', to).header('cache-control', 'no-store').send('');
  }
}

const typeOf = (request: FastifyRequest): string => (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
