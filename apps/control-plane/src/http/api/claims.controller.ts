import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { fromPublicId, isUuid, ProblemError, toPublicId } from '#platform';
import { CLAIM_STATES, type ClaimView } from '#entitlements';
import type { Principal } from '#tenancy';
import { ProcessContext } from '../../processes/context.js';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { pageOf, parse, readPage } from '../support/validate.js';

const filter = z.looseObject({ state: z.enum([...CLAIM_STATES, 'all']).default('pending'), subscriptionId: z.string().optional() });
const approval = apiSchema(
  'ClaimApproval',
  z.strictObject({
    reason: z.string().trim().min(3).max(500).describe('How you know that this person may have the purchase; kept in the audit trail.'),
  }),
);
const rejection = apiSchema(
  'ClaimRejection',
  z.strictObject({ reason: z.string().trim().min(3).max(500).describe('The claimant reads it on the page.') }),
);

@ApiTags('claims')
@ApiBearerAuth()
@Controller('api/v1/claims')
export class ClaimsController {
  constructor(@Inject(ProcessContext) private readonly p: ProcessContext) {}

  @Get()
  @Allow('operator')
  @ApiOperation({
    operationId: 'listClaims',
    summary:
      'People who hold a landing link and ask for access to the purchase, longest waiting first. What they say of themselves is not proved',
  })
  @ApiQuery({ name: 'state', required: false, enum: [...CLAIM_STATES, 'all'], description: 'pending unless told' })
  @ApiQuery({ name: 'subscriptionId', required: false })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false })
  async list(@Query() query: unknown): Promise<unknown> {
    const { state, subscriptionId } = parse(filter, query);
    const page = readPage(query);
    if (page.after !== null && !isUuid(page.after))
      throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
    const wanted = {
      state: state === 'all' ? null : state,
      subscriptionId: subscriptionId === undefined ? null : fromPublicId('sub', subscriptionId),
    };
    return pageOf(await this.p.db.ops((tx) => this.p.claims.list(tx, wanted, page)), view);
  }

  @Post(':id/approve')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'approveClaim', summary: 'The page that asked gets access: the form, the endpoint and its keys' })
  @ApiBody({ schema: schemaRef(approval) })
  @ApiResponse({ status: 404, description: 'claim.not_found' })
  @ApiResponse({ status: 409, description: 'claim.decided, claim.visit_expired' })
  approve(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    return this.decide(caller, id, true, parse(approval, body).reason);
  }

  @Post(':id/reject')
  @HttpCode(200)
  @Allow('operator')
  @ApiOperation({ operationId: 'rejectClaim', summary: 'The page that asked gets nothing, and the reason is shown there' })
  @ApiBody({ schema: schemaRef(rejection) })
  @ApiResponse({ status: 404, description: 'claim.not_found' })
  @ApiResponse({ status: 409, description: 'claim.decided' })
  reject(@Caller() caller: Principal, @Param('id') id: string, @Body() body: unknown): Promise<unknown> {
    return this.decide(caller, id, false, parse(rejection, body).reason);
  }

  private decide(caller: Principal, id: string, approve: boolean, reason: string): Promise<unknown> {
    const claimId = fromPublicId('clm', id);
    return this.p.db.ops(async (tx) => {
      const { claim, tenantId } = await this.p.claims.decide(tx, claimId, { approve, decidedBy: caller.keyId, reason });
      await auditNote(this.p.audit, tx, caller, {
        tenantId,
        action: approve ? 'claim.approved' : 'claim.rejected',
        subject: `subscription:${claim.subscriptionId}`,
        detail: { claimId, reason },
      });
      return view(claim);
    });
  }
}

const view = (c: ClaimView): Record<string, unknown> => ({
  id: toPublicId('clm', c.claimId),
  subscriptionId: toPublicId('sub', c.subscriptionId),
  marketplace: c.marketplace,
  state: c.state,
  claimant: c.claimant,
  // Proved: the only part of it that may be believed.
  signedInAs: c.signedIn && { name: c.signedIn.name, username: c.signedIn.username, sameDirectory: c.signedIn.sameDirectory },
  beneficiaryEmail: c.beneficiaryEmail,
  // A hint for the eye only: whoever knows the address can type it.
  namesBeneficiary: c.claimant && c.beneficiaryEmail ? c.claimant.email.toLowerCase() === c.beneficiaryEmail.toLowerCase() : null,
  reason: c.reason,
  decidedBy: c.decidedBy,
  createdAt: c.createdAt.toISOString(),
  decidedAt: c.decidedAt?.toISOString() ?? null,
  visitEndsAt: c.visitEndsAt.toISOString(),
});
