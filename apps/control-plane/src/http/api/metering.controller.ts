import { Controller, Get, Inject, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CLOCK, DATABASE, fromPublicId, ProblemError, type Clock, type Database } from '#platform';
import { getSubscription } from '#entitlements';
import { listSubmissions, listUsageRecords, Metering, readAtRisk, sumLawTable } from '#metering';
import type { Principal } from '#tenancy';
import { checkWholeSumLaw } from '../../processes/compare-sum-law.js';
import { Answers } from '../support/api-schemas.js';
import { Allow } from '../support/auth.guard.js';
import { Caller, scoped } from '../support/scope.js';
import { readForeignPage } from '../support/validate.js';
import { atRiskPage, atRiskView } from './at-risk-view.js';
import { marketplacesPage, marketplacesView } from './marketplace-status-view.js';
import { submissionView, sumLawView, usageRecordView } from './metering-views.js';
import { sumLawCheck, sumLawCheckView } from './sum-law-view.js';

@ApiTags('metering')
@ApiBearerAuth()
@Controller('api/v1')
export class MeteringController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Metering) private readonly metering: Metering,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Get('usage-records')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listUsageRecords', summary: 'Frozen hours, oldest first; filter with subscriptionId' })
  async listUsageRecords(@Caller() caller: Principal, @Query() query: Record<string, string>): Promise<unknown> {
    const page = await scoped(this.db, caller, (tx) => listUsageRecords(tx, { ...readForeignPage(query), ...ofSubscription(query) }));
    return { items: page.items.map(usageRecordView), nextCursor: page.nextCursor };
  }

  @Get('usage-records/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getUsageRecord', summary: 'One frozen hour' })
  async getUsageRecord(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const recordId = fromPublicId('rec', id);
    const [row] = (await scoped(this.db, caller, (tx) => listUsageRecords(tx, { limit: 1, recordId }))).items;
    if (!row) throw new ProblemError('not_found', 'usage_record.not_found', 'There is no such usage record, or it is not yours.');
    return usageRecordView(row);
  }

  @Get('submissions/:id')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getSubmission', summary: 'One wire item with its attempts' })
  async getSubmission(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const itemId = fromPublicId('itm', id);
    const [row] = (await scoped(this.db, caller, (tx) => listSubmissions(tx, { limit: 1, itemId }))).items;
    if (!row) throw new ProblemError('not_found', 'submission.not_found', 'There is no such submission, or it is not yours.');
    return submissionView(row);
  }

  @Get('submissions')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'listSubmissions', summary: 'Wire items with every attempt and its outcome' })
  async listSubmissions(@Caller() caller: Principal, @Query() query: Record<string, string>): Promise<unknown> {
    const page = await scoped(this.db, caller, (tx) =>
      listSubmissions(tx, { ...readForeignPage(query), ...ofSubscription(query), ...(query['state'] ? { state: query['state'] } : {}) }),
    );
    return { items: page.items.map(submissionView), nextCursor: page.nextCursor };
  }

  @Get('subscriptions/:id/sum-law')
  @Allow('operator', 'tenant')
  @ApiOperation({ operationId: 'getSumLaw', summary: 'Each term of the sum law per meter, in base units; the difference must be 0' })
  async getSumLaw(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    const subscriptionId = fromPublicId('sub', id);
    const rows = await scoped(this.db, caller, async (tx) => {
      if (!(await getSubscription(tx, subscriptionId)))
        throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription, or it is not yours.');
      return sumLawTable(tx, { subscriptionId });
    });
    return { items: rows.map(sumLawView), nextCursor: null };
  }

  @Get('sum-law')
  @Allow('operator')
  @ApiOperation({
    operationId: 'checkSumLaw',
    summary: 'The job: balances every series and cross-checks each kind of row',
    description:
      'Answers how many series there are, and those that do not balance, with what is missing. It takes a while in a large house.',
  })
  @Answers(200, sumLawCheck, 'What does not balance')
  async checkSumLaw(): Promise<unknown> {
    return sumLawCheckView(await checkWholeSumLaw(this.db));
  }

  @Get('at-risk')
  @Allow('operator')
  @ApiOperation({
    operationId: 'readAtRisk',
    summary: 'Usage that no marketplace has accepted yet, in units and money, by the time left to its hard deadline',
    description:
      '`alert` is `page` where something is lost within the hour or was missed, `warn` within four hours or past its target. Units without a known price stand under `unpriced` and are not 0. Amounts are never added up across currencies.',
  })
  @Answers(200, atRiskPage, 'Marketplaces with something waiting')
  async readAtRisk(): Promise<unknown> {
    const now = this.clock.now();
    return atRiskView(now, await this.db.ops((tx) => readAtRisk(tx, now)));
  }

  @Get('marketplaces')
  @Allow('operator')
  @ApiOperation({
    operationId: 'listMarketplaces',
    summary: 'How each marketplace is asked now: breakers, rates, the next deadline, and which listings are sent',
    description:
      'A breaker opens after three failures in a row and lets one probe through after a pause, the earliest hard deadline first; within 15 minutes of a hard deadline a probe is forced. A listing that is not `live` sends nothing.',
  })
  @Answers(200, marketplacesPage, 'Configured marketplaces')
  async listMarketplaces(): Promise<unknown> {
    return marketplacesView(await this.db.ops((tx) => this.metering.marketplaceStatus(tx)));
  }
}

const ofSubscription = (query: Record<string, string>): { subscriptionId?: string } =>
  query['subscriptionId'] ? { subscriptionId: fromPublicId('sub', query['subscriptionId']) } : {};
