import { Controller, Get, Inject, Param, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { errorText, ProblemError, realNow, Sealer, sha256Hex } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { EntraSignIn, type SignedInPerson } from '#marketplaces/azure';
import { credentialsRefused } from '#metering';
import { ProcessContext } from '../../processes/context.js';
import { RuntimeInfo } from '../../runtime-info.js';
import { Open } from '../support/auth.guard.js';

const COOKIE = 'berth_sign_in';
const PATH = '/landing/sign-in';
const SEALED_AS = 'landing.sign-in';
/** Real seconds for picking an account, and the second factor. */
const FLOW_SECONDS = 900;

const flowSchema = z.object({
  sessionId: z.string(),
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  redirectUri: z.string(),
  untilMs: z.number(),
});
type Flow = z.infer<typeof flowSchema>;

/**
 * Signing in on the landing page. What ties the two halves together lives in a sealed cookie of the browser that began: an answer
 * that another browser brings counts for nothing.
 */
@ApiTags('landing')
@Controller('landing/sign-in')
export class SignInController {
  constructor(
    @Inject(ProcessContext) private readonly p: ProcessContext,
    @Inject(Sealer) private readonly sealer: Sealer,
    @Inject(RuntimeInfo) private readonly runtime: RuntimeInfo,
    @Inject(EntraSignIn) private readonly signIn: EntraSignIn | null,
  ) {}

  @Get('start/:sessionId')
  @Open('the unguessable session id of a resolved landing token is the proof')
  @ApiOperation({ operationId: 'startLandingSignIn', summary: 'Sends the browser to Microsoft to sign in' })
  @ApiResponse({ status: 303, description: 'On to the sign-in page' })
  @ApiResponse({ status: 404, description: 'landing.session_unknown, landing.sign_in_not_configured' })
  async start(
    @Param('sessionId') sessionId: string,
    @Query('choose') choose: string | undefined,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (!this.signIn) throw new ProblemError('not_found', 'landing.sign_in_not_configured', 'Nobody signs in on this installation.');
    const session = await this.p.db.ops((tx) => this.p.landings.find(tx, sessionId));
    if (session.marketplace !== 'azure')
      throw new ProblemError(
        'not_found',
        'landing.sign_in_not_configured',
        'Purchases on this marketplace name no person who could sign in.',
      );
    const redirectUri = `${this.runtime.publicUrl}${PATH}/callback`;
    const { url, secrets } = await this.signIn.begin(redirectUri, choose === '1');
    const flow: Flow = { sessionId, ...secrets, redirectUri, untilMs: realNow().getTime() + FLOW_SECONDS * 1_000 };
    await this.go(reply, url, this.cookie(this.sealer.seal(JSON.stringify(flow), SEALED_AS), FLOW_SECONDS));
  }

  @Get('callback')
  @Open('the sealed cookie of the browser that began, and a code that the authority redeems once')
  @ApiOperation({ operationId: 'finishLandingSignIn', summary: 'Where Microsoft sends the browser back' })
  @ApiResponse({ status: 303, description: 'On to the landing page: the visitor’s own visit, or the one he came from where it failed' })
  async callback(@Query() query: Record<string, unknown>, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const forget = this.cookie('', 0);
    const flow = this.flowOf(request.headers.cookie);
    const back = (outcome: string): Promise<void> => this.go(reply, `/landing/s/${flow!.sessionId}?signIn=${outcome}`, forget);
    if (!this.signIn || !flow || flow.untilMs <= realNow().getTime() || !sameText(query['state'], flow.state)) {
      // Without its own cookie an answer may be somebody else's, put into this browser.
      await this.refuse('landing.sign_in_lost', 'no sign-in of this browser awaits this answer');
      return this.go(reply, '/landing/problem?code=landing.sign_in_lost&marketplace=azure', forget);
    }
    if (typeof query['code'] !== 'string' || query['code'] === '') {
      await this.refuse('landing.sign_in_declined', textOf(query['error']));
      return back('declined');
    }
    let person: SignedInPerson;
    try {
      person = await this.signIn.finish(query['code'], flow.redirectUri, flow);
    } catch (error) {
      if (!(error instanceof MarketplaceBusy || error instanceof MarketplaceRefusal)) throw error;
      // About our application and not about this person: nobody can sign in until it is mended.
      if (error instanceof MarketplaceRefusal && error.code === 'azure.unauthorised') await this.alarm(error.message);
      await this.refuse(error instanceof MarketplaceBusy ? 'landing.sign_in_unavailable' : 'landing.sign_in_refused', errorText(error));
      return back(error instanceof MarketplaceBusy ? 'unavailable' : 'refused');
    }
    const own = await this.p.db.ops(async (tx) => {
      const { sessionId, subscriptionId, matched } = await this.p.landings.signIn(tx, flow.sessionId, person);
      const { tenantId } = await this.p.subscriptions.get(tx, subscriptionId);
      await this.p.audit.record(tx, {
        tenantId,
        actor: `landing visitor ${sha256Hex(`${person.directoryId}/${person.personId}`).slice(0, 16)}`,
        action: matched ? 'landing.signed_in' : 'landing.signed_in_as_another',
        subject: `subscription:${subscriptionId}`,
      });
      return sessionId;
    });
    await this.go(reply, `/landing/s/${own}`, forget);
  }

  private flowOf(header: string | undefined): Flow | null {
    const sealed = new RegExp(`(?:^|; *)${COOKIE}=([^;]+)`).exec(header ?? '')?.[1];
    if (!sealed) return null;
    try {
      return flowSchema.parse(JSON.parse(this.sealer.open(sealed, SEALED_AS)));
    } catch {
      return null;
    }
  }

  /** Lax: it comes back with the redirect from the authority, and with no request that another site makes by itself. */
  private cookie(value: string, seconds: number): string {
    const secure = this.runtime.publicUrl.startsWith('https:') ? '; Secure' : '';
    return `${COOKIE}=${value}; Path=${PATH}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`;
  }

  private async alarm(detail: string): Promise<void> {
    const { db, metering, clock } = this.p;
    await db.ops((tx) => metering.raiseFinding(tx, credentialsRefused('azure', clock.now(), detail, 'sign_in')));
  }

  private async refuse(code: string, detail: string): Promise<void> {
    await this.p.inbox.refuse('azure.sign-in', code, detail.slice(0, 500), {}, '');
  }

  private async go(reply: FastifyReply, location: string, cookie: string): Promise<void> {
    await reply.status(303).header('location', location).header('set-cookie', cookie).header('cache-control', 'no-store').send('');
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : 'no code and no error');

function sameText(given: unknown, wanted: string): boolean {
  if (typeof given !== 'string') return false;
  const [a, b] = [Buffer.from(sha256Hex(given)), Buffer.from(sha256Hex(wanted))];
  return timingSafeEqual(a, b);
}
