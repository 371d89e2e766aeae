import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiOperation, ApiParam, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError, realNow, Sealer } from '#platform';
import { EntraSignIn } from '#marketplaces/azure';
import { MARKETPLACES, type Marketplace } from '#marketplaces/core';
import { ProcessContext } from '../../processes/context.js';
import { openLanding } from '../../processes/open-landing.js';
import { Answers, Refuses, schemaRef } from '../support/api-schemas.js';
import { Open } from '../support/auth.guard.js';
import type { RawRequest } from '../support/configure-http.js';
import { landingClaimBody, landingDetailsBody, landingSession, type LandingView } from './landing-schemas.js';
import { LandingThrottle } from './landing-throttle.js';
import { landingView } from './landing-view.js';

/** The field that carries the token; Google's and Amazon's come as form posts from another site. */
const TOKEN_FIELD: Record<Marketplace, string> = { azure: 'token', gcp: 'x-gcp-marketplace-token', aws: 'x-amzn-marketplace-token' };

const FORM = 'application/x-www-form-urlencoded';
/** A token has at most 8 KiB; the rest of a marketplace's form is a few words. */
const MAX_FORM = 64 * 1024;

@ApiTags('landing')
@Controller('landing')
export class LandingController {
  private readonly throttle = new LandingThrottle(() => realNow().getTime());

  constructor(
    @Inject(ProcessContext) private readonly processes: ProcessContext,
    @Inject(Sealer) private readonly sealer: Sealer,
    @Inject(EntraSignIn) private readonly signIn: EntraSignIn | null,
  ) {}

  @Get('api/sessions/:sessionId')
  @Open('the unguessable session id of a resolved landing token is the proof')
  @ApiOperation({ operationId: 'getLandingSession', summary: 'What the landing page shows: purchase, progress, endpoint' })
  @Answers(200, landingSession, 'The visit as it stands')
  @Refuses(['not_found', 'No such visit'], ['gone', 'The visit has expired'])
  view(@Param('sessionId') sessionId: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<LandingView> {
    reply.header('cache-control', 'no-store');
    return this.processes.db.ops(async (tx) =>
      landingView(this.processes, tx, sessionId, await this.processes.landings.find(tx, sessionId), this.signIn !== null),
    );
  }

  @Post('api/sessions/:sessionId/details')
  @HttpCode(202)
  @Open('the unguessable session id of a resolved landing token is the proof')
  @ApiOperation({ operationId: 'giveLandingDetails', summary: 'Give the details; setting up begins' })
  @ApiBody({ schema: schemaRef(landingDetailsBody) })
  @Answers(202, landingSession, 'The details are taken; setting up goes on')
  @Refuses(
    ['validation', 'Some details are missing or wrong: see `errors`'],
    ['not_found', 'No such visit'],
    ['conflict', 'The details were given already, or the purchase has ended'],
    ['gone', 'The visit has expired'],
  )
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
      return landingView(this.processes, tx, sessionId, await this.processes.landings.find(tx, sessionId), this.signIn !== null);
    });
    // A plain form (no script) goes back to its page; a client gets the view.
    if (typeOf(request) === FORM) {
      reply.status(303).header('location', `/landing/s/${sessionId}`);
      return '';
    }
    reply.header('cache-control', 'no-store');
    return view;
  }

  @Post('api/sessions/:sessionId/claim')
  @HttpCode(202)
  @Open('the unguessable session id of a resolved landing token is the proof')
  @ApiOperation({ operationId: 'claimPurchase', summary: 'Ask the seller for access to the purchase: its form or its keys' })
  @ApiBody({ schema: schemaRef(landingClaimBody) })
  @Answers(202, landingSession, 'The claim is taken and waits for the seller')
  @Refuses(
    ['validation', 'Some details are missing or wrong: see `errors`'],
    ['not_found', 'No such visit'],
    ['conflict', 'The visit has access already or was declined, or too many claims to this purchase wait for an answer'],
    ['gone', 'The visit has expired'],
  )
  claim(
    @Param('sessionId') sessionId: string,
    @Body() body: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<LandingView> {
    reply.header('cache-control', 'no-store');
    return this.processes.db.ops(async (tx) => {
      const session = await this.processes.landings.find(tx, sessionId);
      await this.processes.claims.ask(tx, session, body);
      const { tenantId } = await this.processes.subscriptions.get(tx, session.subscriptionId);
      await this.processes.audit.record(tx, {
        tenantId,
        actor: 'landing visitor',
        action: 'claim.asked',
        subject: `subscription:${session.subscriptionId}`,
      });
      return landingView(this.processes, tx, sessionId, await this.processes.landings.find(tx, sessionId), this.signIn !== null);
    });
  }

  @Get(':marketplace')
  @Open('a buyer arrives with a landing token')
  @ApiOperation({
    operationId: 'arriveByLink',
    summary: 'Where Azure Marketplace sends a buyer; and Google Cloud Marketplace one who manages his purchase without single sign-on',
  })
  @ApiParam({ name: 'marketplace', schema: { type: 'string', enum: ['azure', 'gcp'] } })
  @ApiQuery({ name: 'token', required: false, schema: { type: 'string' }, description: "The marketplace's landing token" })
  @ApiResponse({ status: 303, description: 'On to the landing page of the visit, or to the page that says what is wrong' })
  async arrive(
    @Param('marketplace') marketplace: string,
    @Query() query: Record<string, string>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (marketplace === 'gcp') {
      // "Manage on Provider" without SSO: a plain GET that says nothing of the buyer (contract gcp §1). Nothing in it is read.
      await reply
        .status(303)
        .header('location', '/landing/problem?code=landing.login&marketplace=gcp')
        .header('cache-control', 'no-store')
        .send('');
      return;
    }
    if (marketplace !== 'azure')
      throw new ProblemError(
        'not_found',
        'request.no_such_route',
        'This page opens from the marketplace only, by the button that sets up your account there.',
      );
    await this.open('azure', query, request, reply);
  }

  @Post(':marketplace')
  @Open('a buyer arrives with a landing token in a form posted from the marketplace')
  @ApiOperation({ operationId: 'arriveByForm', summary: 'Where Google Cloud Marketplace and AWS Marketplace send a buyer' })
  @ApiParam({ name: 'marketplace', schema: { type: 'string', enum: [...MARKETPLACES] } })
  @ApiConsumes('application/x-www-form-urlencoded')
  @ApiBody({
    description: "The marketplace's landing token, in the field that it uses",
    schema: { type: 'object', additionalProperties: { type: 'string' } },
  })
  @ApiResponse({ status: 303, description: 'On to the landing page of the visit, or to the page that says what is wrong' })
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
    await this.open(marketplace as Marketplace, body ?? {}, request, reply);
  }

  /** Kept without its body: a token may be in it. */
  private async refuse(marketplace: string, problem: ProblemError): Promise<never> {
    await this.processes.inbox.refuse(`${marketplace}.landing`, problem.code, problem.detail, {}, '');
    throw problem;
  }

  private async open(
    marketplace: Marketplace,
    fields: Record<string, string>,
    { ip }: Pick<FastifyRequest, 'ip'>,
    reply: FastifyReply,
  ): Promise<void> {
    this.throttle.admit(ip);
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
