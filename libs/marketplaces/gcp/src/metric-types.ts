import { MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { type Logger, realNow } from '#platform';
import { type ApiClient, failureOf, isOk } from './api-client.js';
import { fieldsOf, isFields, jsonOf, listOf, textOf } from './liberal.js';
import { type GcpSettings, TIMEOUTS_MS, withoutSlash } from './settings.js';

const FRESH_MS = 3_600_000;
const RETRY_MS = 60_000;

/** `valueType` of a metric; null: not known, so that no value of it can be built. */
export type TypeOf = (metric: string) => string | null;

/**
 * The live configuration of the service: a value of the wrong type refuses the whole request, and one dimension may have another
 * type in each plan (contract gcp §4). Never guessed, because the bytes of an operation are stored once: what is not known waits.
 * Where Google does not let us read it, an operator may name the type of all metrics (`unreadMetricType`).
 */
export class MetricTypes {
  private types: Map<string, string> | null = null;
  private refused = false;
  /** A metric was asked for that the newest configuration lacks: it may have been added since. */
  private lacking = false;
  private triedAtMs = Number.NEGATIVE_INFINITY;
  private nextMs = 0;
  private pending: Promise<void> | null = null;

  constructor(
    private readonly settings: Pick<GcpSettings, 'serviceName' | 'serviceManagementUrl' | 'unreadMetricType'>,
    private readonly api: ApiClient,
    private readonly logger?: Logger,
    private readonly realMs: () => number = () => realNow().getTime(),
  ) {}

  readonly typeOf: TypeOf = (metric) => {
    if (!this.types) return this.refused ? this.settings.unreadMetricType : null;
    const type = this.types.get(metric) ?? null;
    if (type === null) this.lacking = true;
    return type;
  };

  /** The metrics with their types; throws where they cannot be read. For the doctor, always asked anew. */
  async read(): Promise<Map<string, string>> {
    const { serviceManagementUrl, serviceName } = this.settings;
    const answer = await this.api.call({
      method: 'GET',
      url: `${withoutSlash(serviceManagementUrl)}/v1/services/${encodeURIComponent(serviceName)}/config`,
      query: { view: 'BASIC' },
      timeoutMs: TIMEOUTS_MS.read,
      changes: false,
      operation: 'getServiceConfig',
    });
    if (!isOk(answer)) throw failureOf('getServiceConfig', answer, false);
    const body = jsonOf(answer.text);
    if (!isFields(body)) throw new MarketplaceBusy('getServiceConfig: the answer is no configuration');
    const found = new Map<string, string>();
    for (const one of listOf(body['metrics']).map(fieldsOf)) {
      const name = textOf(one['name']);
      const type = textOf(one['valueType'])?.toUpperCase();
      if (name && type) found.set(name, type);
    }
    return found;
  }

  /**
   * Reads it where what is known is older than an hour, or than a minute where something is lacking; many askers share one question.
   * Throws where it cannot be read.
   */
  async load(): Promise<void> {
    if (this.realMs() - this.triedAtMs < (this.lacking ? RETRY_MS : this.nextMs)) return;
    this.pending ??= this.fetch().finally(() => {
      this.pending = null;
    });
    await this.pending;
  }

  private async fetch(): Promise<void> {
    this.triedAtMs = this.realMs();
    this.nextMs = RETRY_MS;
    try {
      this.types = await this.read();
      this.lacking = false;
      this.nextMs = FRESH_MS;
    } catch (error) {
      if (!(error instanceof MarketplaceRefusal)) throw error;
      this.refused = true;
      const { unreadMetricType } = this.settings;
      if (this.types || unreadMetricType === null) throw error;
      this.logger?.warn(
        { err: error.message, unreadMetricType },
        'the types of the metrics cannot be read; the one that is configured holds for all',
      );
    }
  }
}
