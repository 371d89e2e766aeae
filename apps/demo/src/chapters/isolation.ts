import type { Purchase } from '../buyers/buyer.js';
import { ControlPlane } from '../control-plane.js';
import { HttpError } from '../support/http.js';
import type { World } from '../world.js';
import { ORDERS } from './buy.js';

/** A tenant's key opens that tenant's rows and no others. Asked again late in the story, when there is usage to see. */
export async function isolation(w: World, hasUsage: boolean): Promise<void> {
  const { report } = w;
  report.chapter(hasUsage ? "A tenant sees its own usage and nobody else's" : "A tenant sees its own rows and nobody else's");
  const mine = w.purchase(ORDERS.tidewater.label);
  const other = w.purchase(ORDERS.meridian.label);
  const tenant = await w.controlPlane.issueTenantKey(mine.tenantId, `demo ${hasUsage ? 'usage' : 'rows'}`);
  await onlyMine(w, tenant, mine, hasUsage);
  await hidden(w, tenant, other, hasUsage);
  if (hasUsage) return;

  const nobody = new ControlPlane(w.controlPlane.url, null);
  for (const path of [
    '/api/v1/tenants',
    '/api/v1/subscriptions',
    `/api/v1/subscriptions/${mine.subscriptionId}`,
    '/api/v1/usage-records',
  ]) {
    const { status } = await nobody.http.refusal('GET', path);
    report.expect(`without a key: ${path.replace(mine.subscriptionId, '{id}')}`, status === 401, String(status));
  }
  const forged = new ControlPlane(w.controlPlane.url, 'berth_op_0000000000000000_0000000000000000000000000000000000000000000');
  report.equal('with a forged key', (await forged.http.refusal('GET', '/api/v1/tenants')).status, 401);
  const grab = await tenant.http.refusal('POST', `/api/v1/tenants/${mine.tenantId}/keys`, { name: 'more' });
  report.expect('a tenant cannot issue keys', grab.status === 403, `${grab.status} ${grab.code}`);
}

async function onlyMine(w: World, tenant: ControlPlane, mine: Purchase, hasUsage: boolean): Promise<void> {
  const lists: [string, Promise<string[]>, string][] = [
    ['tenants', tenant.tenants().then((rows) => rows.map((r) => r.id)), mine.tenantId],
    ['subscriptions', tenant.subscriptions().then((rows) => rows.map((r) => r.id)), mine.subscriptionId],
    ['quotas', tenant.quotas().then((rows) => rows.map((r) => r.tenantId)), mine.tenantId],
    ['entitlements', tenant.entitlements().then((rows) => rows.map((r) => r.tenantId)), mine.tenantId],
  ];
  if (hasUsage) {
    lists.push(['usage records', tenant.records().then((rows) => rows.map((r) => r.subscriptionId)), mine.subscriptionId]);
    lists.push(['submissions', tenant.submissions().then((rows) => rows.map((r) => r.subscriptionId)), mine.subscriptionId]);
  }
  for (const [what, rows, wanted] of lists) {
    const found = await rows;
    w.report.expect(
      `${mine.label}'s key lists only its own ${what}`,
      found.length > 0 && found.every((id) => id === wanted),
      `${found.length} of ${wanted}`,
    );
  }
}

async function hidden(w: World, tenant: ControlPlane, other: Purchase, hasUsage: boolean): Promise<void> {
  const paths = [`/api/v1/tenants/${other.tenantId}`, `/api/v1/subscriptions/${other.subscriptionId}`];
  if (hasUsage) {
    paths.push(
      `/api/v1/submissions?subscriptionId=${other.subscriptionId}`,
      `/api/v1/usage-records?subscriptionId=${other.subscriptionId}`,
    );
    for (const path of paths.splice(2)) {
      const [all, seen] = [await w.controlPlane.http.all(path), await tenant.http.all(path)];
      w.report.expect(
        `asked for ${other.label}'s ${path.split(/[/?]/)[3]} by id, it gets none`,
        all.length > 0 && seen.length === 0,
        `${seen.length} (an operator gets ${all.length})`,
      );
    }
    const law = `/api/v1/subscriptions/${other.subscriptionId}/sum-law`;
    const shown = await tenant
      .sumLaw(other.subscriptionId)
      .catch((error: unknown) => (error instanceof HttpError && error.status === 404 ? [] : Promise.reject(error)));
    const known = await w.controlPlane.http.all(law);
    w.report.expect(
      `nor the terms of ${other.label}'s sum law`,
      known.length > 0 && shown.length === 0,
      `${shown.length} (an operator gets ${known.length})`,
    );
  }
  for (const path of paths) {
    const operator = await w.controlPlane.http.refusal('GET', path);
    const { status, code } = await tenant.http.refusal('GET', path);
    const shown = path.replace(/[a-z]{3}_?[0-9a-z-]{20,}/i, '{id}');
    w.report.expect(
      `to it ${other.label}'s ${shown} does not exist`,
      operator.status === 200 && status === 404,
      `${status} ${code} (an operator gets ${operator.status})`,
    );
  }
}
