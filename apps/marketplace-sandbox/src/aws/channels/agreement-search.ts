import { AwsError } from '../errors.js';
import { licenseIdOf } from '../licence-arn.js';
import { isObject } from '../shape.js';
import type { AwsAgreement } from '../types.js';

export const invalid = (message: string): AwsError => new AwsError('ValidationException', message);

/** A question to SearchAgreements that was read and found well-formed. */
export interface Search {
  party: 'Proposer' | 'Acceptor';
  filters: Record<string, string[]>;
  sortBy: (typeof SORTS)[number];
  isDescending: boolean;
}

const SORTS = ['EndTime', 'StartTime', 'LastUpdateTime'] as const;
const INSTANTS = ['BeforeEndTime', 'AfterEndTime', 'BeforeStartTime', 'AfterStartTime', 'BeforeLastUpdateTime', 'AfterLastUpdateTime'];
const TEXTS: Record<string, (one: AwsAgreement, licences: string[]) => string[]> = {
  ResourceIdentifier: (one) => [one.productId],
  ResourceType: () => ['SaaSProduct'],
  AcceptorAccountId: (one) => [one.buyerAccountId],
  OfferId: (one) => [one.offerId],
  Status: (one) => [one.status],
  AgreementType: () => ['PurchaseAgreement'],
  InitialAgreementId: (one) => [one.initialAgreementId],
  LicenseArn: (_one, licences) => licences,
};
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;

/** The rules of the request (contract aws §7); throws ValidationException. */
export function readSearch(input: Record<string, unknown>): Search {
  const { catalog, filters: given, sort = {} } = input;
  if (catalog !== 'AWSMarketplace') throw invalid('catalog must be AWSMarketplace.');
  if (!Array.isArray(given) || given.length === 0 || given.length > 10) throw invalid('filters must have 1 to 10 members.');
  const filters: Record<string, string[]> = {};
  for (const filter of given as unknown[]) {
    const { name, values } = isObject(filter) ? filter : {};
    if (typeof name !== 'string' || !(Object.hasOwn(TEXTS, name) || INSTANTS.includes(name) || name === 'PartyType'))
      throw invalid(`There is no filter ${String(name)}.`);
    if (Object.hasOwn(filters, name)) throw invalid(`The filter ${name} is there twice.`);
    if (!Array.isArray(values) || values.length === 0 || values.some((one) => typeof one !== 'string' || one === ''))
      throw invalid(`The values of ${name} are not valid.`);
    if (INSTANTS.includes(name) && (values.length !== 1 || !ISO.test(String(values[0])))) throw invalid(`${name} takes one instant.`);
    // The spelling of events lacks the prefix and fails here (contract aws §2).
    if (name === 'LicenseArn' && values.some((arn) => licenseIdOf(String(arn)) === undefined)) throw invalid('A license ARN is not valid.');
    filters[name] = values as string[];
  }
  const party = filters['PartyType']?.[0];
  if (filters['PartyType']?.length !== 1 || (party !== 'Proposer' && party !== 'Acceptor'))
    throw invalid('PartyType must be Proposer or Acceptor.');
  if (filters['AgreementType']?.join() !== 'PurchaseAgreement') throw invalid('AgreementType must be PurchaseAgreement.');
  const { sortBy = 'EndTime', sortOrder = 'ASCENDING' } = isObject(sort) ? sort : {};
  const by = SORTS.find((one) => one === sortBy);
  if (!by) throw invalid('sortBy is not valid.');
  if (by !== 'EndTime' && party !== 'Proposer') throw invalid(`sortBy ${by} is for proposers only.`);
  if (sortOrder !== 'ASCENDING' && sortOrder !== 'DESCENDING') throw invalid('sortOrder is not valid.');
  return { party, filters, sortBy: by, isDescending: sortOrder === 'DESCENDING' };
}

/** Values of one filter are alternatives, filters come together. */
export function matches(one: AwsAgreement, licences: string[], { filters }: Search): boolean {
  return Object.entries(filters).every(([name, values]) => {
    if (name === 'PartyType') return true;
    if (!INSTANTS.includes(name)) return TEXTS[name]!(one, licences).some((value) => values.includes(value));
    const instant = name.endsWith('EndTime') ? one.endsAt : name.endsWith('StartTime') ? one.startsAt : one.updatedAt;
    if (instant === null) return false;
    const [at, than] = [Date.parse(instant), Date.parse(values[0]!)];
    return name.startsWith('After') ? at > than : at < than;
  });
}
