import {
  type AgreementViewSummary,
  DescribeAgreementCommand,
  type DescribeAgreementCommandOutput,
  GetAgreementTermsCommand,
  type MarketplaceAgreementClient,
  SearchAgreementsCommand,
} from '@aws-sdk/client-marketplace-agreement';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown } from '#marketplaces/core';
import type { Logger } from '#platform';
import { codeOf, failureOf, timed } from '../api.js';
import type { AwsClients } from '../clients.js';
import type { AwsSettings } from '../settings.js';

/** 100 000 agreements. */
const MAX_PAGES = 2_000;
const PAGE = 50;

/**
 * The Agreement API as a seller reads by it (contract aws §7), through the real SDK. Every call is a read: what was lost can be
 * asked again, so errors are `MarketplaceBusy` and `MarketplaceRefusal` only.
 */
export class AgreementReader {
  private readonly client: MarketplaceAgreementClient;

  constructor(
    private readonly settings: AwsSettings,
    clients: AwsClients,
    private readonly logger?: Logger,
  ) {
    this.client = clients.agreement();
  }

  /** Our agreements as their proposer, last changed first, to the last page. Those that a partner resold are not among them. */
  async *search(filters: Record<string, string> = {}): AsyncGenerator<AgreementViewSummary> {
    const all = { PartyType: 'Proposer', AgreementType: 'PurchaseAgreement', ...filters };
    const input = {
      catalog: 'AWSMarketplace',
      filters: Object.entries(all).map(([name, value]) => ({ name, values: [value] })),
      sort: { sortBy: 'LastUpdateTime', sortOrder: 'DESCENDING' as const },
      maxResults: PAGE,
    };
    let nextToken: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const answer = await this.call('searchAgreements', (abortSignal) =>
        this.client.send(new SearchAgreementsCommand({ ...input, ...(nextToken ? { nextToken } : {}) }), { abortSignal }),
      );
      yield* answer.agreementViewSummaries ?? [];
      if (!answer.nextToken) return;
      // A list that turns in a circle is not a list.
      if (answer.nextToken === nextToken) throw new MarketplaceUnknown('searchAgreements: the same page again');
      nextToken = answer.nextToken;
    }
    throw new MarketplaceUnknown(`searchAgreements: no end after ${MAX_PAGES} pages`);
  }

  /** Null where it does not exist, or not for us: a resold one is between others. */
  describe(agreementId: string): Promise<DescribeAgreementCommandOutput | null> {
    return this.orNull('describeAgreement', (abortSignal) =>
      this.client.send(new DescribeAgreementCommand({ agreementId }), { abortSignal }),
    );
  }

  /** Whether a trial is among the accepted terms; null where the agreement is not shown to us. */
  async isTrial(agreementId: string): Promise<boolean | null> {
    let nextToken: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const token = nextToken ? { nextToken } : {};
      const answer = await this.orNull('getAgreementTerms', (abortSignal) =>
        this.client.send(new GetAgreementTermsCommand({ agreementId, maxResults: PAGE, ...token }), { abortSignal }),
      );
      if (!answer) return null;
      if (answer.acceptedTerms?.some((term) => term.freeTrialPricingTerm !== undefined)) return true;
      if (!answer.nextToken || answer.nextToken === nextToken) return false;
      nextToken = answer.nextToken;
    }
    throw new MarketplaceUnknown(`getAgreementTerms: no end after ${MAX_PAGES} pages`);
  }

  private async orNull<T>(operation: string, call: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    try {
      return await this.call(operation, call);
    } catch (error) {
      if (error instanceof MarketplaceRefusal && error.code === 'aws.resource_not_found') return null;
      throw error;
    }
  }

  private async call<T>(operation: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await timed(this.logger, operation, this.settings.timeoutsMs.read, call);
    } catch (error) {
      const { sort, name, message } = failureOf(error);
      if (sort === 'busy' || sort === 'unknown') throw new MarketplaceBusy(`${operation}: ${name}: ${message}`);
      throw new MarketplaceRefusal(codeOf(name), `${operation}: ${message}`, sort === 'us' ? 403 : 400);
    }
  }
}
