import type { MarketplaceAdapter } from '#marketplaces/core';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import { createGcpAdapter, type GcpAdapter } from '#marketplaces/gcp';
import { HttpTransportError } from '#platform';
import { json } from '../events/azure-events.js';

export const SERVICE = 'object-cells.endpoints.harbor-storage-public.cloud.goog';
export const METRIC = `${SERVICE}/standard_gib_hours_stored`;

/** What is answered in place of a good answer: a status, a check error, or that our own list of hosts forbids the call. */
type Odd = number | 'not_allowed' | 'SERVICE_NOT_ACTIVATED';
export interface OddAnswers {
  check?: Odd;
  report?: Odd;
  config?: Odd;
  entitlement?: Odd;
  /** `valueType` of the metric in the live configuration; null: it has no such metric. */
  type?: 'INT64' | 'DOUBLE' | null;
}

/** The real adapter over HTTP answers that are written down here, standing in for how a fake marketplace takes usage. */
export class GoogleDoor {
  readonly adapter: GcpAdapter;
  readonly reported: string[] = [];

  constructor(
    public answers: OddAnswers = {},
    settings: Partial<Parameters<typeof createGcpAdapter>[0]> = {},
  ) {
    this.adapter = createGcpAdapter(
      {
        providerId: 'harbor-storage-public',
        projectId: 'harbor-storage-public',
        subscription: 'marketplace',
        serviceName: SERVICE,
        audiences: ['cp.harbor.example'],
        procurementUrl: 'http://procurement.invalid',
        serviceControlUrl: 'http://servicecontrol.invalid',
        serviceManagementUrl: 'http://servicemanagement.invalid',
        signUpKeysUrl: 'http://keys.invalid',
        oidcKeysUrl: 'http://keys.invalid',
        push: null,
        safeResend: true,
        unreadMetricType: null,
        pubsubEndpoint: null,
        anonymous: true,
        ...settings,
      },
      { clock: { now: () => new Date('2026-03-10T11:00:00Z') } as never, http: { request: (call) => this.answer(call.url, call.body) } },
    );
  }

  private async answer(url: string, body: string | undefined): ReturnType<Parameters<typeof createGcpAdapter>[1]['http']['request']> {
    const what = url.includes(':check') ? 'check' : url.includes(':report') ? 'report' : url.includes('/config') ? 'config' : 'entitlement';
    const odd = this.answers[what];
    if (odd === 'not_allowed') throw new HttpTransportError('http.not_allowed', 'the host is not on the list', false);
    if (odd === 'SERVICE_NOT_ACTIVATED') return json({ checkErrors: [{ code: odd, detail: 'not activated' }] });
    if (odd !== undefined) return json({ error: { code: odd, message: 'no', status: 'NO' } }, odd);
    if (what === 'config') {
      const { type = 'INT64' } = this.answers;
      return json({ metrics: type === null ? [] : [{ name: METRIC, valueType: type }] });
    }
    if (what === 'report') this.reported.push(body ?? '');
    return json({});
  }

  /** Everything about usage goes to Google, everything else stays with the fake. */
  standIn(fake: FakeMarketplace): MarketplaceAdapter {
    const { adapter } = this;
    const own: Partial<MarketplaceAdapter> = {
      prepareUsage: () => adapter.prepareUsage(),
      buildUsageItem: (input) =>
        adapter.buildUsageItem({ ...input, refs: { usageReportingId: 'project_number:1', state: 'ENTITLEMENT_ACTIVE', updateTime: null } }),
      submitUsage: (items) => adapter.submitUsage(items),
      batchKey: (item) => adapter.batchKey(item),
    };
    return new Proxy<MarketplaceAdapter>(fake, {
      get: (target, name) => {
        const value: unknown = Reflect.get(name in own ? own : target, name);
        return typeof value === 'function' && !(name in own) ? (value as () => unknown).bind(target) : value;
      },
    });
  }
}
