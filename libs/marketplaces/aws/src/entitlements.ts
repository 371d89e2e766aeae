import { GetEntitlementsCommand, type MarketplaceEntitlementServiceClient } from '@aws-sdk/client-marketplace-entitlement-service';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown } from '#marketplaces/core';
import { errorText, type Logger } from '#platform';
import { z } from 'zod';
import { codeOf, failureOf, timed } from './api.js';
import type { AwsClients } from './clients.js';
import { textOf } from './liberal.js';
import type { AwsSettings } from './settings.js';

/** What one contract grants, as read: kept and shown whole; only the named dimension becomes the purchase's quantity. */
export const entitlementsSchema = z.object({
  quantityDimension: z.string().nullable(),
  list: z.array(
    z.object({
      dimension: z.string(),
      value: z.union([z.number(), z.boolean(), z.string()]).nullable(),
      /** The least validity; with auto-renewal the renewal date (contract aws §3). */
      expiresAt: z.string().nullable(),
    }),
  ),
});
export type Entitlements = z.output<typeof entitlementsSchema>;

const MAX_PAGES = 200;
const PAGE = 25;
const MAX_QUANTITY = 2_147_483_647;

/** Whose entitlements: by licence, because an account may hold two agreements; by identifier on a legacy listing (contract aws §3). */
export type Holder = { licenseArn: string } | { customerIdentifier: string };

/** Reads GetEntitlements to its last page. Null for a product without a contract: AWS has nothing to tell of those. */
export class EntitlementReader {
  private readonly client: MarketplaceEntitlementServiceClient;

  constructor(
    private readonly settings: AwsSettings,
    clients: AwsClients,
    private readonly logger?: Logger,
  ) {
    this.client = clients.entitlement();
  }

  /** Whether AWS has entitlements to tell of this product. */
  covers(productCode: string | null): boolean {
    return productCode !== null && this.settings.contractProducts[productCode] !== undefined;
  }

  /**
   * What is granted now, as a fact of the refs; null where AWS does not tell it now. An empty answer tells nothing either: it lags
   * behind a new licence, and of an end other messages tell (contract aws §3). Nobody's service waits for this answer: without one
   * the refs say that it is due (`isGrantDue`), and the purchase is read again.
   */
  async tell(productCode: string, holder: Holder, now: Date): Promise<{ value: Entitlements; at: string } | null> {
    try {
      const value = await this.read(productCode, holder);
      return value && value.list.length > 0 ? { value, at: now.toISOString() } : null;
    } catch (error) {
      this.logger?.warn({ marketplace: 'aws', productCode, error: errorText(error) }, 'the entitlements could not be read');
      return null;
    }
  }

  async read(productCode: string, holder: Holder): Promise<Entitlements | null> {
    const contract = this.settings.contractProducts[productCode];
    if (!contract) return null;
    const Filter = 'licenseArn' in holder ? { LICENSE_ARN: [holder.licenseArn] } : { CUSTOMER_IDENTIFIER: [holder.customerIdentifier] };
    const list: Entitlements['list'] = [];
    let NextToken: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const answer = await this.page({ ProductCode: productCode, Filter, MaxResults: PAGE, ...(NextToken ? { NextToken } : {}) });
      for (const one of answer.Entitlements ?? []) {
        const dimension = textOf(one.Dimension);
        if (!dimension) continue;
        const { IntegerValue, DoubleValue, BooleanValue, StringValue } = one.Value ?? {};
        const value = IntegerValue ?? DoubleValue ?? BooleanValue ?? StringValue ?? null;
        list.push({ dimension, value, expiresAt: one.ExpirationDate?.toISOString() ?? null });
      }
      NextToken = answer.NextToken;
      // An empty page with a token is not the end (contract aws §3).
      if (!NextToken) return { quantityDimension: contract.quantityDimension, list };
    }
    throw new MarketplaceUnknown(`getEntitlements: no end after ${MAX_PAGES} pages`);
  }

  private async page(input: ConstructorParameters<typeof GetEntitlementsCommand>[0]) {
    try {
      return await timed(this.logger, 'getEntitlements', this.settings.timeoutsMs.read, (abortSignal) =>
        this.client.send(new GetEntitlementsCommand(input), { abortSignal }),
      );
    } catch (error) {
      const { sort, name, message } = failureOf(error);
      // A read: whatever was lost can be asked again.
      if (sort === 'busy' || sort === 'unknown') throw new MarketplaceBusy(`getEntitlements: ${name}: ${message}`);
      throw new MarketplaceRefusal(codeOf(name), `getEntitlements: ${message}`, sort === 'us' ? 403 : 400);
    }
  }
}

/** Whether what is granted was never read, or not since it was due. Of an ended purchase nothing is asked any more. */
export const isGrantDue = (refs: {
  entitlementsDueAt: string | null;
  entitlements: { at: string } | null;
  endedAt: string | null;
}): boolean => refs.endedAt === null && refs.entitlementsDueAt !== null && (refs.entitlements?.at ?? '') < refs.entitlementsDueAt;

/** When the contract renews or runs out, as far as entitlements tell: the earliest of their ends (contract aws §3). */
export function expiryOf(entitlements: Entitlements | null | undefined): Date | null {
  const ends = (entitlements?.list ?? []).flatMap(({ expiresAt }) => (expiresAt === null ? [] : [Date.parse(expiresAt)]));
  const known = ends.filter((at) => !Number.isNaN(at));
  return known.length === 0 ? null : new Date(Math.min(...known));
}

/** Units of the named dimension, all rows together; null where the contract has none or they are no whole number. */
export function quantityOf(entitlements: Entitlements | null | undefined): number | null {
  if (!entitlements || entitlements.quantityDimension === null) return null;
  const rows = entitlements.list.filter((one) => one.dimension === entitlements.quantityDimension);
  const sum = rows.reduce((total, { value }) => total + (typeof value === 'number' ? value : Number.NaN), 0);
  return rows.length > 0 && Number.isSafeInteger(sum) && sum >= 0 && sum <= MAX_QUANTITY ? sum : null;
}
