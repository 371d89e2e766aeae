import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { canonicalJson, ConfigError, projectRoot, sha256Hex, uuidv5, type Clock, type Tx } from '#platform';
import { planIdsOf, type Marketplace } from '#marketplaces/core';
import type { Emission, MeterTerms, PlanVersion } from '../domain/plan-version.js';
import { meterFaults, planFaults, repeated, saidTwice } from './catalog-faults.js';
import { readMeters } from '../infra/segments.sql.js';
import { noteListingEmission } from './emissions.js';

interface CatalogFile {
  marketplace: Marketplace;
  offer: { externalId: string; name: string; emission?: Emission };
  regions: { id: string; name: string }[];
  plans: (Omit<
    PlanVersion,
    | 'planVersionId'
    | 'marketplace'
    | 'externalOfferId'
    | 'externalPlanId'
    | 'version'
    | 'contentHash'
    | 'offerName'
    | 'planName'
    | 'meters'
    | 'regions'
  > & {
    externalId: string;
    name: string;
    meters: MeterTerms[];
    regions?: { id: string; name: string }[];
  })[];
}

/**
 * A plan as its file says it. `listingEmission` is the listing's and no part of the version: it holds for purchases of every
 * version; where it is left out, nothing is said of the listing.
 */
export type CatalogPlan = Omit<PlanVersion, 'version'> & { listingEmission?: Emission };

/**
 * The catalog: YAML files checked against `catalog/catalog.schema.json`, loaded into immutable, content-hashed plan versions.
 * Another content under a known plan id is a new version; subscriptions keep the one they pinned.
 */
export class Catalog {
  constructor(private readonly clock: Clock) {}

  /** Reads and checks every `*.yaml` of the folder; all faults of a file are told at once. */
  readFolder(folder: string): CatalogPlan[] {
    const schema = JSON.parse(readFileSync(join(projectRoot(), 'catalog', 'catalog.schema.json'), 'utf8')) as object;
    const check = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile<CatalogFile>(schema);
    const files = readdirSync(folder)
      .filter((f) => f.endsWith('.yaml'))
      .sort();
    if (files.length === 0)
      throw new ConfigError(
        `the catalog folder ${folder} holds no .yaml file. Set BERTH_CATALOG to a folder with offers (docs/guides/catalog.md)`,
      );
    const faults: string[] = [];
    const plans = files.flatMap((file) => {
      const document = parseYaml(file, readFileSync(join(folder, file), 'utf8'), faults);
      if (document === null) return [];
      if (!check(document)) {
        faults.push(
          ...(check.errors ?? []).map(
            (e) => `${file}: ${codeOf(e.instancePath)}${e.instancePath || '/'} ${e.message ?? ''}${unknownName(e.params)}`,
          ),
        );
        return [];
      }
      const read = toPlans(document);
      faults.push(...read.flatMap((plan) => planFaults(plan)).map((fault) => `${file}: ${fault}`));
      return read;
    });
    faults.push(
      ...repeated(plans.map((p) => `${p.marketplace} offer ${p.externalOfferId}, plan ${p.externalPlanId}`)).map(
        (name) => `${name} is described twice`,
      ),
      ...saidTwice(plans),
      ...meterFaults(metersOf(plans)),
    );
    if (faults.length > 0) throw new ConfigError(`the catalog is wrong: ${faults.join('; ')}. Correct it (catalog/catalog.schema.json)`);
    return plans;
  }

  /**
   * Stores what differs from the newest version. Idempotent; two starters at once end with one row. What a meter or a metric is
   * where a purchase counts by it, it stays.
   */
  async load(tx: Tx, plans: CatalogPlan[]): Promise<number> {
    let added = 0;
    await tx.query('select pg_advisory_xact_lock(7205313)');
    const faults = meterFaults(metersOf(plans), await readMeters(tx, { sold: false }));
    if (faults.length > 0) throw new ConfigError(`the catalog contradicts what was counted so far: ${faults.join('; ')}`);
    await this.noteEmissions(tx, plans);
    for (const { listingEmission: _, ...plan } of plans) {
      const [last] = await tx.query<{ version: number; content_hash: string }>(
        'select version, content_hash from plan_versions where marketplace = $1 and external_offer_id = $2 and external_plan_id = $3 order by version desc limit 1',
        [plan.marketplace, plan.externalOfferId, plan.externalPlanId],
      );
      if (last?.content_hash === plan.contentHash) continue;
      const version = (last?.version ?? 0) + 1;
      // Content that was withdrawn and comes back is a version of its own: the newest version is always what the files say.
      const [taken] = await tx.query('select 1 from plan_versions where plan_version_id = $1', [plan.planVersionId]);
      const planVersionId = taken
        ? uuidv5('plan-version', plan.marketplace, plan.externalOfferId, plan.externalPlanId, plan.contentHash, String(version))
        : plan.planVersionId;
      await tx.query(
        `insert into plan_versions (plan_version_id, marketplace, external_offer_id, external_plan_id, version, content_hash, document, loaded_at) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [
          planVersionId,
          plan.marketplace,
          plan.externalOfferId,
          plan.externalPlanId,
          version,
          plan.contentHash,
          JSON.stringify({ ...plan, planVersionId, version }),
          this.clock.now(),
        ],
      );
      added += 1;
    }
    return added;
  }

  private async noteEmissions(tx: Tx, plans: CatalogPlan[]): Promise<void> {
    const listings = new Map(plans.map((plan) => [`${plan.marketplace}/${plan.externalOfferId}`, plan]));
    for (const { marketplace, externalOfferId, listingEmission: emission } of listings.values())
      if (emission !== undefined) {
        const isNew = !(await this.knowsOffer(tx, marketplace, externalOfferId));
        await noteListingEmission(tx, { marketplace, externalOfferId, emission, isNew }, this.clock.now());
      }
  }

  /** The newest version of a plan, or null: an unknown plan parks, it never gets a default. */
  async latest(tx: Tx, marketplace: Marketplace, externalOfferId: string, externalPlanId: string): Promise<PlanVersion | null> {
    const [row] = await tx.query<{ document: PlanVersion }>(
      `select document from plan_versions where marketplace = $1 and external_offer_id = $2 and external_plan_id = any($3::text[])
        order by array_position($3::text[], external_plan_id), version desc limit 1`,
      [marketplace, externalOfferId, planIdsOf(marketplace, externalPlanId)],
    );
    return row?.document ?? null;
  }

  /** What is sold now: the newest version of each plan. */
  async newest(tx: Tx): Promise<PlanVersion[]> {
    const rows = await tx.query<{ document: PlanVersion }>(
      `select distinct on (marketplace, external_offer_id, external_plan_id) document from plan_versions
        order by marketplace, external_offer_id, external_plan_id, version desc`,
    );
    return rows.map((row) => row.document);
  }

  async get(tx: Tx, planVersionId: string): Promise<PlanVersion> {
    const [row] = await tx.query<{ document: PlanVersion }>('select document from plan_versions where plan_version_id = $1', [
      planVersionId,
    ]);
    if (!row) throw new Error(`plan version ${planVersionId} is missing`);
    return row.document;
  }

  async knowsOffer(tx: Tx, marketplace: Marketplace, externalOfferId: string): Promise<boolean> {
    const rows = await tx.query('select 1 from plan_versions where marketplace = $1 and external_offer_id = $2 limit 1', [
      marketplace,
      externalOfferId,
    ]);
    return rows.length > 0;
  }
}

function toPlans(file: CatalogFile): CatalogPlan[] {
  return file.plans.map((p) => {
    const { externalId, name, ...rest } = p;
    const content = {
      ...rest,
      marketplace: file.marketplace,
      externalOfferId: file.offer.externalId,
      externalPlanId: externalId,
      offerName: file.offer.name,
      planName: name,
      regions: p.regions ?? file.regions,
    };
    const contentHash = sha256Hex(canonicalJson(content));
    return {
      ...content,
      contentHash,
      planVersionId: uuidv5('plan-version', file.marketplace, file.offer.externalId, externalId, contentHash),
      listingEmission: file.offer.emission ?? 'live',
    };
  });
}

function parseYaml(file: string, text: string, faults: string[]): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    faults.push(`${file}: ${(error as Error).message.split('\n')[0]}`);
    return null;
  }
}

/** Ajv names the offending property, and what would be allowed, only in the parameters of the error. */
const unknownName = (params: Record<string, unknown>): string =>
  typeof params['additionalProperty'] === 'string'
    ? ` (${params['additionalProperty']})`
    : Array.isArray(params['allowedValues'])
      ? `: ${params['allowedValues'].join(', ')}`
      : '';

/** Money hangs on it, so whoever reads the fault by machine can tell it. */
const codeOf = (path: string): string => (path.endsWith('/emission') ? 'catalog.emission_invalid: ' : '');

const metersOf = (plans: readonly CatalogPlan[]): MeterTerms[] => plans.flatMap((p) => p.meters);
