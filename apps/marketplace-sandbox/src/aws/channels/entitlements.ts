import { SECOND } from '../../shared/clock.js';
import type { AwsContext } from '../context.js';
import { AwsError } from '../errors.js';
import { licenseArn, licenseIdOf } from '../licence-arn.js';
import { RateLimit } from '../rate-limit.js';
import type { Operation } from '../service-scope.js';
import { productOf } from '../settings.js';
import type { Entitle, Entitlement, EntitlementValue } from '../types.js';

const KEYS = ['CUSTOMER_IDENTIFIER', 'CUSTOMER_AWS_ACCOUNT_ID', 'DIMENSION', 'LICENSE_ARN'] as const;
const MOST = 25;
const REGION = 'us-east-1';

export interface Grant extends Entitle {
  productCode: string;
  holder: string;
  accountId: string;
}

/** GetEntitlements (contract aws §3). */
export class Entitlements {
  private readonly rates = new RateLimit();

  constructor(private readonly context: AwsContext) {}

  grant({ productCode, holder, accountId, dimension, value, expiresAt, lagSeconds = 0 }: Grant): void {
    const { state, clock } = this.context;
    const key = `${productCode}|${holder}|${dimension}`;
    const version: Entitlement = {
      productCode,
      holder,
      accountId,
      dimension,
      value: valueOf(value),
      expiresAt: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
      visibleAt: new Date(clock.nowMs() + lagSeconds * SECOND).toISOString(),
    };
    state.entitlements.put(key, [...(state.entitlements.get(key) ?? []), version]);
  }

  /** Takes everything of a holder away: after a contract the answer is empty (contract aws §3). */
  revoke(holder: string, lagSeconds = 0): void {
    for (const versions of this.context.state.entitlements.values()) {
      const last = versions.at(-1);
      if (last?.holder === holder && last.value !== null) this.grant({ ...last, value: null, expiresAt: undefined, lagSeconds });
    }
  }

  operations(): Record<string, Operation> {
    return {
      GetEntitlements: (input, caller) => {
        const settings = this.context.settings();
        if (caller.region !== REGION) throw new AwsError('UnknownOperationException', `The service is in ${REGION} only.`);
        if (!this.rates.take(caller.accountId, settings.entitlementRatePerSecond, performance.now()))
          throw new AwsError('ThrottlingException', 'Rate exceeded');
        const productCode = input['ProductCode'];
        if (typeof productCode !== 'string' || !productOf(settings, productCode) || caller.accountId !== settings.sellerAccountId)
          throw invalid('The product code is not valid.');
        const most = input['MaxResults'] ?? MOST;
        if (typeof most !== 'number' || !Number.isInteger(most) || most < 1 || most > MOST) throw invalid('MaxResults must be 1 to 25.');
        const filter = filterOf(input['Filter']);
        const rows = this.visible(productCode).filter((row) => this.matches(row, filter));
        return this.page(rows, most, input['NextToken']);
      },
    };
  }

  /** "A page may be empty and still carry NextToken": the empty ones come first. */
  private page(rows: Entitlement[], most: number, token: unknown): object {
    const settings = this.context.settings();
    const place = token === undefined || token === null ? 0 : Number(/^page-(\d{1,6})$/.exec(String(token))?.[1] ?? Number.NaN);
    if (!Number.isInteger(place)) throw invalid('NextToken is not valid.');
    const empty = settings.emptyEntitlementPages;
    const from = Math.max(0, place - empty) * most;
    const shown = place < empty ? [] : rows.slice(from, from + most);
    const isLast = place >= empty && from + most >= rows.length;
    return { Entitlements: shown.map((row) => this.wireOf(row)), ...(isLast ? {} : { NextToken: `page-${place + 1}` }) };
  }

  private visible(productCode: string): Entitlement[] {
    const now = this.context.clock.now().toISOString();
    return this.context.state.entitlements.values().flatMap((versions) => {
      const last = versions.filter((one) => one.visibleAt <= now).at(-1);
      return last && last.value !== null && last.productCode === productCode && (last.expiresAt === null || last.expiresAt > now)
        ? [last]
        : [];
    });
  }

  private matches(row: Entitlement, filter: Map<string, string[]>): boolean {
    const has = (key: (typeof KEYS)[number], value: string): boolean => filter.get(key)?.includes(value) ?? true;
    const isLicence = row.holder.startsWith('l-');
    // Values under one key are alternatives, keys must all hold.
    return (
      has('DIMENSION', row.dimension) &&
      has('CUSTOMER_AWS_ACCOUNT_ID', row.accountId) &&
      (!filter.has('CUSTOMER_IDENTIFIER') || (!isLicence && has('CUSTOMER_IDENTIFIER', row.holder))) &&
      (!filter.has('LICENSE_ARN') || (isLicence && has('LICENSE_ARN', licenseArn(this.context.settings(), row.holder))))
    );
  }

  private wireOf(row: Entitlement): object {
    return {
      ProductCode: row.productCode,
      Dimension: row.dimension,
      CustomerAWSAccountId: row.accountId,
      ...(row.holder.startsWith('l-')
        ? { LicenseArn: licenseArn(this.context.settings(), row.holder) }
        : { CustomerIdentifier: row.holder }),
      Value: row.value,
      // Numbers of epoch seconds: an ISO text makes the SDK throw (contract aws §6).
      ...(row.expiresAt === null ? {} : { ExpirationDate: Date.parse(row.expiresAt) / 1_000 }),
    };
  }
}

function valueOf(value: Grant['value'] | EntitlementValue): EntitlementValue | null {
  if (value === null || typeof value === 'object') return value;
  if (typeof value === 'boolean') return { BooleanValue: value };
  if (typeof value === 'string') return { StringValue: value };
  return Number.isInteger(value) ? { IntegerValue: value } : { DoubleValue: value };
}

function filterOf(raw: unknown): Map<string, string[]> {
  const filter = new Map<string, string[]>();
  if (raw === undefined || raw === null) return filter;
  if (typeof raw !== 'object') throw new AwsError('SerializationException', 'Filter is not a map.');
  for (const [key, values] of Object.entries(raw)) {
    if (!(KEYS as readonly string[]).includes(key)) throw invalid(`There is no filter ${key}.`);
    if (!Array.isArray(values) || values.length === 0 || values.some((one) => typeof one !== 'string'))
      throw invalid(`The values of ${key} are not valid.`);
    filter.set(key, values as string[]);
  }
  if (filter.has('CUSTOMER_IDENTIFIER') && filter.has('CUSTOMER_AWS_ACCOUNT_ID'))
    throw invalid('CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID exclude each other.');
  // The spelling of events lacks the prefix and fails here (contract aws §2).
  if (filter.get('LICENSE_ARN')?.some((arn) => licenseIdOf(arn) === undefined)) throw invalid('A license ARN is not valid.');
  return filter;
}

const invalid = (message: string): AwsError => new AwsError('InvalidParameterException', message);
