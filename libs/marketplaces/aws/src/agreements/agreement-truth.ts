import type { MarketplaceRefs, SubscriptionTruth } from '#marketplaces/core';
import { type Clock, errorText, type Logger } from '#platform';
import { textOf } from '../liberal.js';
import { type AwsRefs, callArnOf, joinRefs, NOTHING_KNOWN, readRefs, truthOfRefs } from '../refs.js';
import type { AwsSettings } from '../settings.js';
import { type AgreementView, factsOf, factsOfAll, licencesOf, productIdOf } from './agreement-facts.js';
import type { AgreementReader } from './agreement-reader.js';

/**
 * What the Agreement API says of purchases: the backstop for lost events (contract aws §4.3, §7). Its search shows what we
 * proposed ourselves; what a partner resold is not shown, so absence means nothing here.
 */
export class AgreementTruth {
  constructor(
    private readonly settings: AwsSettings,
    private readonly reader: AgreementReader,
    private readonly clock: Clock,
    private readonly logger?: Logger,
  ) {}

  /**
   * Every licence that is listed. In force is what AWS holds in force, registered with us or not: who has not landed yet differs
   * and is looked at again. A product that is not ours keeps AWS's id for it and so is foreign.
   */
  async *listAll(): AsyncGenerator<SubscriptionTruth> {
    const now = this.clock.now();
    const byLicence = new Map<string, AgreementView[]>();
    const byChain = new Map<string, AgreementView[]>();
    for await (const view of this.reader.search()) {
      for (const licenseId of licencesOf(view)) add(byLicence, licenseId, view);
      const initial = textOf(view.initialAgreementId);
      if (initial) add(byChain, initial, view);
    }
    for (const [licenseId, views] of byLicence) {
      const facts = factsOfAll(views, licenseId, now, (id) => this.codeOf(id) ?? id);
      // The list is the whole chain already: whom a renewal follows needs no question of its own.
      const previousAgreementId = predecessorOf(facts, byChain.get(facts.initialAgreementId ?? '') ?? []);
      const truth = truthOfRefs({ ...facts, previousAgreementId, registered: true }, now);
      yield facts.superseded ? { ...truth, state: 'ended' } : truth;
    }
  }

  /**
   * One purchase, asked for by its licence, with what is known of it already. Known and not shown: as known, because a search may
   * lag and leave out. Null where neither is, and for a product that is not ours.
   */
  async read(licenseId: string, raw?: MarketplaceRefs): Promise<SubscriptionTruth | null> {
    const now = this.clock.now();
    const parsed = readRefs(raw);
    const known = parsed?.licenseId === licenseId && parsed.productCode !== null ? parsed : null;
    const views = await this.viewsOf(licenseId, known);
    if (views.length === 0) return known && truthOfRefs(known, now);
    const told = factsOfAll(views, licenseId, now, (id) => this.codeOf(id));
    const facts = told.superseded ? { ...told, ...(await this.endOfChain(told, now)) } : told;
    const before = known ?? NOTHING_KNOWN;
    const joined = joinRefs(before, { ...facts, ...(await this.chainOf(facts, before)), ...(await this.trialOf(facts)) });
    return joined.productCode === null ? null : truthOfRefs(joined, now);
  }

  /** What License Updated leaves out of its agreement: term, chain and trial. A help only: without an answer the message stands alone. */
  async learn(agreementId: string, licenseId: string, known: AwsRefs | null): Promise<Partial<AwsRefs> | null> {
    try {
      const view = await this.reader.describe(agreementId);
      if (!view) return null;
      const { startsAt, endsAt, autoRenew, initialAgreementId, agreementIds } = factsOf(view, licenseId, this.clock.now(), null);
      const facts = { ...NOTHING_KNOWN, agreementIds, initialAgreementId, accountId: textOf(view.acceptor?.accountId) };
      const more = { ...(await this.chainOf(facts, known ?? NOTHING_KNOWN)), ...(await this.trialOf(facts)) };
      return { startsAt, endsAt, autoRenew, initialAgreementId, ...more };
    } catch (error) {
      this.logger?.warn({ marketplace: 'aws', agreementId, error: errorText(error) }, 'the agreement could not be read');
      return null;
    }
  }

  /**
   * What a landing does not tell of a licence: its agreement, and the chain that it is in. License Updated alone says that it is
   * in force. A help only, as `learn` is.
   */
  async learnOfLicence(licenseId: string, licenseArn: string, accountId: string): Promise<Partial<AwsRefs> | null> {
    try {
      const views: AgreementView[] = [];
      for await (const view of this.reader.search({ LicenseArn: licenseArn }))
        if (licencesOf(view).includes(licenseId) && view.acceptor?.accountId === accountId) views.push(view);
      if (views.length === 0) return null;
      const { agreementIds, initialAgreementId, startsAt, endsAt, autoRenew } = factsOfAll(views, licenseId, this.clock.now(), () => null);
      const facts = { ...NOTHING_KNOWN, agreementIds, initialAgreementId, accountId };
      return { agreementIds, initialAgreementId, startsAt, endsAt, autoRenew, ...(await this.chainOf(facts, NOTHING_KNOWN)) };
    } catch (error) {
      this.logger?.warn({ marketplace: 'aws', licenseId, error: errorText(error) }, 'the agreement of a licence could not be read');
      return null;
    }
  }

  private codeOf(productId: string | null): string | null {
    const code = productId === null ? undefined : this.settings.agreements?.productIds[productId];
    return code ?? null;
  }

  /** By the spelling that calls take, where it is known; else the list is gone through, youngest change first. */
  private async viewsOf(licenseId: string, known: AwsRefs | null): Promise<AgreementView[]> {
    const arn = known && callArnOf(known);
    const views: AgreementView[] = [];
    for await (const view of this.reader.search(arn ? { LicenseArn: arn } : {})) {
      if (!licencesOf(view).includes(licenseId)) continue;
      views.push(view);
      if (!arn) break;
    }
    return views;
  }

  /** A renewal or replacement that does not name its predecessor: the one before it in the chain of the same buyer (§7). */
  private async chainOf(facts: AwsRefs, known: AwsRefs): Promise<Partial<AwsRefs>> {
    const { initialAgreementId } = facts;
    if (!initialAgreementId || isFirst(facts) || known.previousAgreementId) return {};
    const chain: AgreementView[] = [];
    for await (const view of this.reader.search({ InitialAgreementId: initialAgreementId })) chain.push(view);
    const earlier = earlierIn(chain, facts).map((view) => textOf(view.agreementId)!);
    return {
      previousAgreementId: predecessorOf(facts, chain),
      ...(earlier.length > 0 ? { earlierAgreementIds: { value: earlier, at: this.clock.now().toISOString() } } : {}),
    };
  }

  /** Superseded by what has ended itself, and nobody told: no successor can come for its place any more, so it is over too. */
  private async endOfChain({ initialAgreementId, accountId }: AwsRefs, now: Date): Promise<Partial<AwsRefs>> {
    if (!initialAgreementId) return {};
    const chain: AwsRefs[] = [];
    for await (const view of this.reader.search({ InitialAgreementId: initialAgreementId }))
      if (view.acceptor?.accountId === accountId) chain.push(factsOf(view, '', now, null));
    if (chain.some((one) => one.endedAt === null && one.superseded === null)) return {};
    const [last] = chain.filter((one) => one.endedAt !== null).sort((a, b) => (a.endedAt! > b.endedAt! ? -1 : 1));
    return last ? { endedAt: last.endedAt, endedStatus: last.endedStatus, finalStatus: last.finalStatus } : {};
  }

  /** AWS prices a trial itself; that it is one is only shown, so nothing fails for want of it. */
  private async trialOf({ agreementIds }: AwsRefs): Promise<Partial<AwsRefs>> {
    const newest = agreementIds.at(-1);
    try {
      const value = newest === undefined ? null : await this.reader.isTrial(newest);
      return value === null ? {} : { trial: { value, at: this.clock.now().toISOString() } };
    } catch (error) {
      this.logger?.warn({ marketplace: 'aws', agreementId: newest, error: errorText(error) }, 'the terms could not be read');
      return {};
    }
  }
}

function add(all: Map<string, AgreementView[]>, key: string, view: AgreementView): void {
  const there = all.get(key);
  if (there) there.push(view);
  else all.set(key, [view]);
}

const isFirst = ({ initialAgreementId, agreementIds }: AwsRefs): boolean =>
  initialAgreementId !== null && agreementIds.includes(initialAgreementId);

/** The agreement that a licence's own one follows; null for the first of a chain. */
function predecessorOf(facts: AwsRefs, chain: AgreementView[]): string | null {
  const [own] = facts.agreementIds;
  return own === undefined || isFirst(facts) ? null : predecessorIn(chain, own, facts.accountId);
}

/** The agreements of the same buyer and product that were accepted before a licence's own, youngest first. */
function earlierIn(
  chain: AgreementView[],
  { agreementIds: [own], accountId }: Pick<AwsRefs, 'agreementIds' | 'accountId'>,
): AgreementView[] {
  const us = chain.find((view) => view.agreementId === own);
  if (!us) return [];
  return chain
    .filter((view) => acceptedAt(view) < acceptedAt(us) && view.acceptor?.accountId === accountId && productIdOf(view) === productIdOf(us))
    .sort((a, b) => acceptedAt(b) - acceptedAt(a));
}

const acceptedAt = (view: AgreementView): number => view.acceptanceTime?.getTime() ?? Number.NaN;

/** The youngest of them; null where that is not clear. */
export function predecessorIn(chain: AgreementView[], own: string, accountId: string | null): string | null {
  const [first, second] = earlierIn(chain, { agreementIds: [own], accountId });
  return !first || (second && acceptedAt(second) === acceptedAt(first)) ? null : textOf(first.agreementId);
}
