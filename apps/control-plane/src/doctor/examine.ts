import { type BerthConfig, createLogger, errorText, GuardedHttp, hostsOf, OffsetClock } from '#platform';
import { awsHosts, awsSettingsSchema } from '#marketplaces/aws';
import { type Check, type ExpectedListing, type Marketplace, type MarketplaceAdapter, timeLimited } from '#marketplaces/core';
import { Catalog, type CatalogPlan, type PlanVersion } from '#entitlements';
import { makeAdapters } from '../marketplaces.js';
import { addressCheck, SNS_ADDRESS } from './address-check.js';
import { type Probe, reachAndClock } from './clock-check.js';
import { emissionCheck } from './emission-check.js';
import { awsWebhookSecret, azureSecretExpiry } from './secret-checks.js';
import { metricCheck } from './metric-check.js';
import { unitCheck } from './unit-check.js';

/** An adapter does several checks one after another. */
const ADAPTER_FACTOR = 6;

export interface Report {
  marketplace: Marketplace;
  checks: Check[];
}

/** All checks of one configured marketplace. Nothing is bought, metered, stored or changed by them. */
export async function examine(
  marketplace: Marketplace,
  config: BerthConfig,
  env: Record<string, string | undefined>,
  timeoutMs: number,
): Promise<Report> {
  const probes = probesOf(marketplace, config);
  const http = new GuardedHttp({
    allow: hostsOf([
      ...probes.map((probe) => probe.url),
      config.azure?.apiUrl,
      config.azure?.authorityUrl,
      config.azure?.armUrl,
      config.gcp?.procurementUrl,
      config.gcp?.serviceControlUrl,
      config.gcp?.serviceManagementUrl,
      config.gcp?.signUpKeysUrl,
    ]).concat(config.aws ? awsHosts(awsSettingsSchema.parse(config.aws)) : []),
  });
  try {
    const logger = createLogger('berth-doctor', 'silent');
    const only = { ...config, azure: null, gcp: null, aws: null, [marketplace]: config[marketplace] };
    const adapter = makeAdapters(only, { http, clock: new OffsetClock(), logger })[0]!;
    const { plans, check: catalog } = readCatalog(marketplace, config);
    const [reach, own] = await Promise.all([
      reachAndClock(marketplace, probes, http, timeoutMs),
      adapterChecks(adapter, listingsOf(plans), timeoutMs),
    ]);
    const expiry = marketplace === 'azure' ? azureSecretExpiry(config.azure!) : [];
    const isKnown = (one: Check): boolean => expiry.some((known) => known.check === one.check);
    return {
      marketplace,
      checks: [
        ...reach,
        ...(marketplace === 'aws' ? [awsWebhookSecret(env)] : []),
        ...own.filter((one) => !isKnown(one)),
        ...expiry,
        catalog,
        ...(plans.length > 0
          ? [unitCheck(marketplace, plans, adapter.usage.maxDecimals), metricCheck(marketplace, plans), emissionCheck(marketplace, plans)]
          : []),
        addressCheck(
          marketplace,
          config.publicUrl,
          config.sandboxUrl !== null,
          marketplace === 'aws' && config.aws?.sns ? [SNS_ADDRESS] : [],
        ),
      ],
    };
  } finally {
    await http.close();
  }
}

/** A doctor that hangs or throws is a finding, too. */
async function adapterChecks(adapter: MarketplaceAdapter, listings: ExpectedListing[], timeoutMs: number): Promise<Check[]> {
  try {
    return await timeLimited(() => adapter.doctor({ listings, timeoutMs }), timeoutMs * ADAPTER_FACTOR);
  } catch (error) {
    return [
      {
        check: `${adapter.marketplace}.adapter`,
        result: 'fail',
        detail: errorText(error),
        remedy: 'Run it again; if it stays so, raise --timeout and check the network.',
      },
    ];
  }
}

function readCatalog(marketplace: Marketplace, config: BerthConfig): { plans: CatalogPlan[]; check: Check } {
  const check = `${marketplace}.catalog`;
  const remedy = 'Describe the offer in a YAML file of the catalog folder (BERTH_CATALOG): docs/guides/catalog.md.';
  try {
    const plans = new Catalog(new OffsetClock()).readFolder(config.catalogDir).filter((plan) => plan.marketplace === marketplace);
    if (plans.length === 0)
      return { plans, check: { check, result: 'fail', detail: `the catalog has no offer for ${marketplace}`, remedy } };
    const offers = [...new Set(plans.map((plan) => plan.externalOfferId))];
    return { plans, check: { check, result: 'pass', detail: `${offers.join(', ')} with ${plans.length} plan(s)` } };
  } catch (error) {
    return { plans: [], check: { check, result: 'fail', detail: errorText(error), remedy } };
  }
}

function listingsOf(plans: Omit<PlanVersion, 'version'>[]): ExpectedListing[] {
  return [...new Set(plans.map((plan) => plan.externalOfferId))].map((externalOfferId) => ({
    externalOfferId,
    plans: plans
      .filter((plan) => plan.externalOfferId === externalOfferId)
      .map((plan) => ({
        externalPlanId: plan.externalPlanId,
        meters: plan.meters
          .filter((meter) => meter.emission === 'live')
          .map((meter) => ({ dimension: meter.dimension, listedUnit: meter.listedUnit, included: meter.included?.quantity ?? null })),
      })),
  }));
}

function probesOf(marketplace: Marketplace, config: BerthConfig): Probe[] {
  switch (marketplace) {
    case 'azure': {
      const { apiUrl, authorityUrl, tenantId } = config.azure!;
      return [
        {
          what: 'Entra',
          url: `${authorityUrl}/${encodeURIComponent(tenantId)}/discovery/v2.0/keys`,
          setting: 'AZURE_AUTHORITY_URL',
        },
        { what: 'the marketplace API', url: `${apiUrl}/saas/subscriptions?api-version=2018-08-31`, setting: 'AZURE_MARKETPLACE_URL' },
      ];
    }
    case 'gcp': {
      const { procurementUrl, serviceControlUrl, serviceManagementUrl, signUpKeysUrl } = config.gcp!;
      return [
        { what: 'the sign-up keys', url: signUpKeysUrl, setting: 'GCP_SIGNUP_KEYS_URL' },
        { what: 'the Procurement API', url: procurementUrl, setting: 'GCP_PROCUREMENT_URL' },
        { what: 'Service Control', url: serviceControlUrl, setting: 'GCP_SERVICE_CONTROL_URL' },
        { what: 'Service Management', url: serviceManagementUrl, setting: 'GCP_SERVICE_MANAGEMENT_URL' },
      ];
    }
    case 'aws': {
      const { endpoint, region } = config.aws!;
      const url = endpoint ?? `https://metering.marketplace.${region}.amazonaws.com`;
      return [{ what: 'the metering service', url, setting: endpoint ? 'AWS_METERING_ENDPOINT' : 'AWS_METERING_REGION' }];
    }
  }
}
