import type { Action, Counter, There, World } from './world.js';

const AUDIENCE = 'https://berth.test/push';
const ACCOUNT = 'pusher@harbor-project.iam.gserviceaccount.com';

const other = (planId: string): string => (planId === 'standard' ? 'premium' : 'standard');

interface AzureView {
  id: string;
  planId: string;
  status: string;
}
const AZURE_STATES: Record<string, There['state']> = {
  PendingFulfillmentStart: 'pending_fulfillment',
  Subscribed: 'active',
  Suspended: 'suspended',
  Unsubscribed: 'ended',
};
const AZURE_ACTIONS: Record<Action, string> = {
  change: 'change-plan',
  suspend: 'suspend',
  reinstate: 'reinstate',
  cancel: 'unsubscribe',
  renew: 'renew',
};

export const azureCounter: Counter = {
  marketplace: 'azure',
  environment: {},
  restSeconds: 1_500,
  settings: (url) => ({ azure: { webhookUrl: `${url}/azure` } }),
  async buy(world, planId, auto) {
    const bought = await world.shop<{ subscriptionId: string; landingUrl: string }>('POST', '/azure/purchases', {
      offerId: 'object-cells',
      planId,
      subscriptionName: 'A model purchase',
      autoActivate: auto,
    });
    const token = new URL(bought.landingUrl).searchParams.get('token') ?? '';
    return { externalId: bought.subscriptionId, landing: { field: 'token', fields: { token } } };
  },
  async act(world, id, action) {
    const { planId } = (await azureViews(world)).find((one) => one.id === id)!;
    await world.shop('POST', `/azure/subscriptions/${id}/${AZURE_ACTIONS[action]}`, action === 'change' ? { planId: other(planId) } : {});
  },
  async list(world) {
    return (await azureViews(world)).map((one) => ({ externalId: one.id, state: AZURE_STATES[one.status]!, planId: one.planId }));
  },
};

const azureViews = async (world: World): Promise<AzureView[]> =>
  (await world.shop<{ items: AzureView[] }>('GET', '/azure/subscriptions')).items;

interface GcpView {
  id: string;
  wire: { state: string; plan: string } | null;
}
const GCP_STATES: Record<string, There['state']> = {
  ENTITLEMENT_ACTIVATION_REQUESTED: 'pending_fulfillment',
  ENTITLEMENT_ACTIVE: 'active',
  ENTITLEMENT_PENDING_CANCELLATION: 'active',
  ENTITLEMENT_PENDING_PLAN_CHANGE: 'active',
  ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL: 'active',
  ENTITLEMENT_SUSPENDED: 'suspended',
  ENTITLEMENT_CANCELLED: 'ended',
};
/** Google suspends no purchase of itself; a cancellation is pending first, and may be taken back. */
const GCP_ACTIONS: Record<Action, string> = {
  change: 'change-plan',
  suspend: 'cancel',
  reinstate: 'revert-cancel',
  cancel: 'cancel-now',
  renew: 'renew',
};

export const gcpCounter: Counter = {
  marketplace: 'gcp',
  environment: { GCP_PUSH_AUDIENCE: AUDIENCE, GCP_PUSH_SERVICE_ACCOUNT: ACCOUNT },
  restSeconds: 1_500,
  settings: (url) => ({ gcp: { pushEndpoint: `${url}/gcp`, pushAudience: AUDIENCE, pushServiceAccount: ACCOUNT } }),
  async buy(world, planId) {
    const bought = await world.shop<{ entitlementId: string; signUp: { fields: Record<string, string> } }>('POST', '/gcp/purchases', {
      planId,
      notificationFirst: true,
    });
    return { externalId: bought.entitlementId, landing: { field: 'x-gcp-marketplace-token', fields: bought.signUp.fields } };
  },
  async act(world, id, action) {
    const view = (await gcpViews(world)).find((one) => one.id === id);
    if (!view?.wire) return;
    await world.shop(
      'POST',
      `/gcp/entitlements/${id}/${GCP_ACTIONS[action]}`,
      action === 'change' ? { planId: other(view.wire.plan) } : {},
    );
  },
  async list(world) {
    return (await gcpViews(world)).flatMap((one) =>
      one.wire ? [{ externalId: one.id, state: GCP_STATES[one.wire.state]!, planId: one.wire.plan }] : [],
    );
  },
};

const gcpViews = async (world: World): Promise<GcpView[]> => (await world.shop<{ items: GcpView[] }>('GET', '/gcp/entitlements')).items;

interface AwsView {
  id: string;
  licenseId: string;
  status: string;
  endsAt: string | null;
  licensedAt: string | null;
  resolvedAt: string | null;
  deprovisionedAt: string | null;
  previousAgreementId: string | null;
}
const TOKEN = 'x-amzn-marketplace-token';

/** AWS suspends nothing and has one plan; an advisory and a new date of the end stand for the two here. */
const AWS_ACTIONS: Record<Action, string> = {
  change: 'amend',
  suspend: 'advisory',
  reinstate: 'replace',
  cancel: 'cancel',
  renew: 'renew',
};

export const awsCounter: Counter = {
  marketplace: 'aws',
  environment: {},
  // Longer than the hold for a successor.
  restSeconds: 4_500,
  settings: (url) => ({ aws: { webhookUrl: `${url}/aws` } }),
  async buy(world, planId, auto) {
    const bought = await world.shop<{ licenseId: string; registration: { fields: Record<string, string> } }>('POST', '/aws/purchases', {
      order: planId === 'premium' && auto ? 'landing_first' : 'licence_first',
    });
    return { externalId: bought.licenseId, landing: { field: TOKEN, fields: bought.registration.fields } };
  },
  async visit(world, id) {
    const newest = newestOf(await awsViews(world), id)!;
    const { registration } = await world.shop<{ registration?: { fields: Record<string, string> } }>(
      'POST',
      `/aws/agreements/${newest.id}/register`,
    );
    return registration ? { field: TOKEN, fields: registration.fields } : null;
  },
  async act(world, id, action) {
    const newest = newestOf(await awsViews(world), id);
    if (!newest) return;
    const renews = action === 'renew' || action === 'reinstate';
    await world.shop('POST', `/aws/agreements/${newest.id}/${AWS_ACTIONS[action]}`, {
      ...(action === 'change' ? { endsAt: '2035-01-01T00:00:00Z' } : {}),
      // Only a successor that names its predecessor can take its place (contract aws §7).
      ...(renews ? { namesPrevious: true, deprovision: true } : {}),
    });
  },
  async list(world) {
    const all = await awsViews(world);
    return all.flatMap((one) => {
      const isSuperseded = all.some((later) => later.previousAgreementId === one.id && later.licensedAt !== null);
      const isOver = one.status !== 'ACTIVE' || one.deprovisionedAt !== null;
      if (!one.licensedAt && !isOver) return [];
      const landed = chainOf(all, one).some((each) => each.resolvedAt !== null);
      const state = isOver ? 'ended' : landed ? 'active' : 'pending_fulfillment';
      return [{ externalId: one.licenseId, state, planId: 'standard', isSuperseded, termEndsAt: one.endsAt?.slice(0, 19) ?? null }];
    });
  },
};

const awsViews = async (world: World): Promise<AwsView[]> => (await world.shop<{ items: AwsView[] }>('GET', '/aws/agreements')).items;

/** An agreement with those it follows. */
function chainOf(all: AwsView[], one: AwsView): AwsView[] {
  const before = all.find((each) => each.id === one.previousAgreementId);
  return before ? [one, ...chainOf(all, before)] : [one];
}

function newestOf(all: AwsView[], licenseId: string): AwsView | undefined {
  let newest = all.find((one) => one.licenseId === licenseId);
  for (let next = newest; next; next = all.find((one) => one.previousAgreementId === next?.id)) newest = next;
  return newest;
}
