import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { canonicalJson, ConfigError, projectRoot, sha256Hex, uuidv5, type Clock, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import type { MeterTerms, PlanVersion } from '../domain/plan-version.js';

interface CatalogFile {
  marketplace: Marketplace;
  offer: { externalId: string; name: string };
  regions: { id: string; name: string }[];
  plans: (Omit<PlanVersion, 'planVersionId' | 'marketplace' | 'externalOfferId' | 'externalPlanId' | 'version' | 'contentHash' | 'offerName' | 'planName' | 'meters' | 'regions'> & {
    externalId: string; name: string; meters: MeterTerms[]; regions?: { id: string; name: string }[];
  })[];
}

/**
 * The catalog: YAML files checked against `catalog/catalog.schema.json`, loaded into immutable, content-hashed plan versions.
 * Another content under a known plan id is a new version; subscriptions keep the one they pinned.
 */
export class Catalog {
  constructor(private readonly clock: Clock) {}

  /** Reads and checks every `*.yaml` of the folder; all faults of a file are told at once. */
  readFolder(folder: string): Omit<PlanVersion, 'version'>[] {
    const schema = JSON.parse(readFileSync(join(projectRoot(), 'catalog', 'catalog.schema.json'), 'utf8')) as object;
    const check = new Ajv2020({ allErrors: true }).compile<CatalogFile>(schema);
    const files = readdirSync(folder).filter((f) => f.endsWith('.yaml')).sort();
    if (files.length === 0) throw new ConfigError(`the catalog folder ${folder} holds no .yaml file. Set BERTH_CATALOG to a folder with offers (docs/guides/catalog.md)`);
    return files.flatMap((file) => {
      const document: unknown = parse(readFileSync(join(folder, file), 'utf8'));
      if (!check(document)) {
        const faults = (check.errors ?? []).slice(0, 5).map((e) => `${e.instancePath || '/'} ${e.message ?? ''}`).join('; ');
        throw new ConfigError(`catalog file ${file}: ${faults}. Correct it against catalog/catalog.schema.json`);
      }
      const plans = toPlans(document);
      for (const plan of plans) for (const meter of plan.meters) assertExact(file, plan.externalPlanId, meter);
      return plans;
    });
  }

  /** Stores what is new. Idempotent; two starters at once end with one row per content. */
  async load(tx: Tx, plans: Omit<PlanVersion, 'version'>[]): Promise<number> {
    let added = 0;
    await tx.query('select pg_advisory_xact_lock(7205313)');
    for (const plan of plans) {
      const [known] = await tx.query('select 1 from plan_versions where plan_version_id = $1', [plan.planVersionId]);
      if (known) continue;
      const [last] = await tx.query<{ version: number }>(
        'select coalesce(max(version), 0)::int as version from plan_versions where marketplace = $1 and external_offer_id = $2 and external_plan_id = $3',
        [plan.marketplace, plan.externalOfferId, plan.externalPlanId],
      );
      const version = last!.version + 1;
      await tx.query(
        `insert into plan_versions (plan_version_id, marketplace, external_offer_id, external_plan_id, version, content_hash, document, loaded_at) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [plan.planVersionId, plan.marketplace, plan.externalOfferId, plan.externalPlanId, version, plan.contentHash, JSON.stringify({ ...plan, version }), this.clock.now()],
      );
      added += 1;
    }
    return added;
  }

  /** The newest version of a plan, or null: an unknown plan parks, it never gets a default. */
  async latest(tx: Tx, marketplace: Marketplace, externalOfferId: string, externalPlanId: string): Promise<PlanVersion | null> {
    const [row] = await tx.query<{ document: PlanVersion }>(
      'select document from plan_versions where marketplace = $1 and external_offer_id = $2 and external_plan_id = $3 order by version desc limit 1',
      [marketplace, externalOfferId, externalPlanId],
    );
    return row?.document ?? null;
  }

  async get(tx: Tx, planVersionId: string): Promise<PlanVersion> {
    const [row] = await tx.query<{ document: PlanVersion }>('select document from plan_versions where plan_version_id = $1', [planVersionId]);
    if (!row) throw new Error(`plan version ${planVersionId} is missing`);
    return row.document;
  }

  async knowsOffer(tx: Tx, marketplace: Marketplace, externalOfferId: string): Promise<boolean> {
    const rows = await tx.query('select 1 from plan_versions where marketplace = $1 and external_offer_id = $2 limit 1', [marketplace, externalOfferId]);
    return rows.length > 0;
  }
}

function toPlans(file: CatalogFile): Omit<PlanVersion, 'version'>[] {
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
    return { ...content, contentHash, planVersionId: uuidv5('plan-version', file.marketplace, file.offer.externalId, externalId, contentHash) };
  });
}

/** A quantum that is not a whole number of base units could not be carried exactly (law 6). */
function assertExact(file: string, plan: string, meter: MeterTerms): void {
  if (BigInt(meter.basePerUnit) % 10n ** BigInt(meter.decimals) !== 0n) {
    throw new ConfigError(`catalog file ${file}: plan ${plan}, meter ${meter.meter}: basePerUnit must be divisible by 10^${meter.decimals}. Lower decimals`);
  }
}
