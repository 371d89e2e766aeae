import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type FulfillmentEvent,
  type InboundRequest,
  type InboundVerdict,
  MarketplaceBusy,
  type MarketplaceRefs,
  type RecallRefs,
  type StoredInbound,
  type SubscriptionTruth,
} from '#marketplaces/core';
import type { Clock } from '#platform';
import { type ApiClient, failureOf } from './api-client.js';
import { type Fields, fieldsOf, guidOf, instantOf, isFields, textOf } from './liberal.js';
import { parsed } from './reader.js';
import type { AzureSettings } from './settings.js';

export const MANAGED_SOURCE = 'azure.managed_app';
export const ARM = 'https://management.azure.com';
export const ARM_API_VERSION = '2021-07-01';
const MAX_BODY = 256 * 1024;
/** So long ARM may lag behind a notification before its word is final. */
const LAG_MS = 60_000;
const APPLICATION =
  /^\/subscriptions\/([0-9a-f-]{36})\/resourceGroups\/([\w()-][\w().-]{0,88}[\w()-]|[\w()-])\/providers\/Microsoft\.Solutions\/applications\/([\w-]{1,64})$/i;

type Refused = Extract<InboundVerdict, { ok: false }>;
const refused = (status: Refused['status'], code: string, detail: string): Refused => ({ ok: false, status, code, detail });

/** The only proof is the secret in the address; what the body says is asked for afterwards (contract azure §7). */
export function verifyManaged(request: InboundRequest, settings: Pick<AzureSettings, 'managedAppSignature'>): InboundVerdict {
  if (Buffer.byteLength(request.body, 'utf8') > MAX_BODY)
    return refused(413, 'azure.body_too_large', `a notification may have ${MAX_BODY} bytes`);
  if (!settings.managedAppSignature) return refused(401, 'azure.managed_apps_off', 'no secret is set for managed applications');
  if (!sameSecret(request.query['sig'] ?? '', settings.managedAppSignature))
    return refused(401, 'azure.signature_wrong', 'the secret in the address is not ours');
  const body = safeJson(request.body);
  if (!isFields(body)) return refused(400, 'azure.body_not_object', 'the body is not a JSON object');
  for (const name of ['eventType', 'applicationId', 'provisioningState'])
    if (!textOf(body[name])) return refused(400, 'azure.notification_incomplete', `${name} is missing`);
  return {
    ok: true,
    source: MANAGED_SOURCE,
    // They carry no id: a repeat has the same bytes.
    naturalKey: `sha256:${createHash('sha256').update(request.body).digest('hex')}`,
    principal: 'azure:managed-application',
    decisionWanted: false,
    externalSubscriptionId: guidOf(fieldsOf(body['billingDetails'])['resourceUsageId']),
  };
}

function sameSecret(given: string, wanted: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(wanted));
}

/** Managed applications as Azure Resource Manager shows them, in the words of a purchase. */
export class ManagedApps {
  constructor(
    private readonly settings: AzureSettings,
    private readonly arm: ApiClient,
    private readonly clock: Clock,
  ) {}

  /** Whether a purchase is one; then nothing of the SaaS API knows it. */
  static isOne = (refs: MarketplaceRefs | null | undefined): refs is MarketplaceRefs & { applicationId: string } =>
    typeof refs?.['applicationId'] === 'string';

  /** Null where there is none (any more), or another deployment stands in its place. */
  async read(externalSubscriptionId: string, refs: MarketplaceRefs & { applicationId: string }): Promise<SubscriptionTruth | null> {
    const raw = await this.get(refs.applicationId);
    const truth = raw && this.truthOf(raw, refs['deployed'] === true);
    return truth?.externalSubscriptionId === externalSubscriptionId ? truth : null;
  }

  async normalise(message: StoredInbound, recall: RecallRefs): Promise<FulfillmentEvent[]> {
    const told = fieldsOf(safeJson(message.body));
    const id = guidOf(fieldsOf(told['billingDetails'])['resourceUsageId']);
    // Of a service catalog: deployed from the customer's own catalog, sold on no marketplace.
    if (!id) return [];
    const applicationId = textOf(told['applicationId']) ?? '';
    const state = (textOf(told['provisioningState']) ?? '').toLowerCase();
    const type = (textOf(told['eventType']) ?? '').toUpperCase();
    const error = fieldsOf(told['error']);
    const known = await recall(id);
    const event: FulfillmentEvent = {
      kind: 'noted',
      marketplace: 'azure',
      externalSubscriptionId: id,
      occurredAt: instantOf(told['eventTime']) ?? message.receivedAt,
      truth: null,
      note: `managed application ${type} ${textOf(told['provisioningState'])}${textOf(error['code']) ? `: ${textOf(error['code'])} ${textOf(error['message'])}` : ''}`.slice(
        0,
        400,
      ),
    };
    // A purchase keeps its address: a message of it that names another application is somebody's who knows the secret.
    if (ManagedApps.isOne(known) && known.applicationId.toLowerCase() !== applicationId.toLowerCase())
      return [{ ...event, note: `${event.note}: it names another application`, truth: await this.read(id, known) }];
    const truth = await this.read(id, { ...known, applicationId });
    const isYoung = this.clock.now().getTime() - message.receivedAt.getTime() < LAG_MS;
    if (type === 'DELETE' && state === 'deleted') {
      if (!truth) return known ? [{ ...event, kind: 'ended', deletedThere: true, effectiveAt: event.occurredAt }] : [];
      if (isYoung) throw new MarketplaceBusy('the application is still shown after its deletion was told');
      return [{ ...event, truth, note: `${event.note}: it is still there` }];
    }
    // Gone already while it is told to be going: the message of the end comes next, on the same lane, and must not wait behind this.
    if (type === 'DELETE' && !truth) return [];
    if (!truth && isYoung) throw new MarketplaceBusy('the application is not shown yet');
    const kind = !truth || state === 'failed' || type === 'DELETE' ? 'noted' : type === 'PATCH' ? 'changed' : 'purchased';
    return [{ ...event, kind, truth }];
  }

  private async get(applicationId: string): Promise<Fields | null> {
    const parts = APPLICATION.exec(applicationId);
    if (!parts) return null;
    const [, subscription, group, name] = parts;
    const answer = await this.arm.call({
      method: 'GET',
      path: `/subscriptions/${subscription}/resourceGroups/${encodeURIComponent(group!)}/providers/Microsoft.Solutions/applications/${name}`,
      timeoutMs: this.settings.timeoutsMs.read,
      changes: false,
      operation: 'getApplication',
    });
    if (answer.status === 404) return null;
    if (answer.status !== 200) throw failureOf('getApplication', answer, false);
    return fieldsOf(parsed('getApplication', answer.text));
  }

  /** `deployed`: it was in force before, so that a later step that failed or runs does not end it. */
  private truthOf(raw: Fields, deployed: boolean): SubscriptionTruth | null {
    const properties = fieldsOf(raw['properties']);
    const plan = fieldsOf(raw['plan']);
    const externalSubscriptionId = guidOf(fieldsOf(properties['billingDetails'])['resourceUsageId']);
    const applicationId = textOf(raw['id']);
    const [externalOfferId, externalPlanId] = [textOf(plan['product']), textOf(plan['name'])];
    if (!externalSubscriptionId || !applicationId || !externalOfferId || !externalPlanId) return null;
    const inForce = deployed || textOf(properties['provisioningState'])?.toLowerCase() === 'succeeded';
    return {
      marketplace: 'azure',
      externalSubscriptionId,
      aliases: [],
      state: inForce ? 'active' : 'pending_fulfillment',
      name: textOf(raw['name']),
      externalOfferId,
      externalPlanId,
      quantity: null,
      term: { unit: null, startsAt: null, endsAt: null },
      endsAt: null,
      purchaser: { email: null, personId: null, directoryId: null, accountId: APPLICATION.exec(applicationId)?.[1] ?? null },
      beneficiary: null,
      // Of whoever owns the Azure subscription it is deployed in; no directory is told.
      buyerAccountId: null,
      // Only its owner changes or deletes it.
      readOnly: true,
      isTest: false,
      isFreeTrial: false,
      supersedes: null,
      refs: {
        publisherId: textOf(plan['publisher']),
        allowedOperations: [],
        autoRenew: null,
        sessionMode: null,
        sandboxType: null,
        applicationId,
        deployed: inForce,
      },
      observedAt: this.clock.now(),
      version: null,
    };
  }
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
