import { toPublicId, type Tx } from '#platform';
import type { LandingSession, MeterTerms, PlanVersion, SubscriptionRecord } from '#entitlements';
import { quotaLimit, rejectedBecause } from '#entitlements';
import type { PlacementView, Progress } from '#provisioning/engine';
import type { ProcessContext } from '../../processes/context.js';
import type { LandingProgress, LandingView } from './landing-schemas.js';
import {
  activatingWords,
  failureWords,
  rejectedWords,
  RETRYING,
  STAGES,
  stageTitle,
  stepWords,
  unconfirmedWords,
  voidedWords,
} from './landing-words.js';

export async function landingView(
  p: ProcessContext,
  tx: Tx,
  sessionId: string,
  session: LandingSession,
  offersSignIn: boolean,
): Promise<LandingView> {
  const s = await p.subscriptions.get(tx, session.subscriptionId);
  const plan = await p.catalog.get(tx, s.planVersionId!);
  const placement = await p.engine.placementOfSubscription(tx, s.subscriptionId);
  const progress = s.tenantId ? await p.engine.progress(tx, s.subscriptionId) : null;
  const tenant = s.tenantId && !session.needsAccess ? await p.tenants.get(tx, s.tenantId) : null;
  const serving = !!placement?.activatedAt && !placement.accessEndedAt;
  const state = stateOf(s, session, serving, progress?.state === 'failed');
  // What support can look up; it is no key to anything, as the session id is.
  const reference = state === 'failed' && progress ? toPublicId('op', progress.operationId) : toPublicId('sub', s.subscriptionId);
  // A landing token alone proves no person: without access the endpoint has no keys, and where approval is asked nothing is shown.
  const readable = state === 'ended' && placement?.phase === 'exporting';
  const shows = ((serving && state === 'ready') || readable) && !session.needsAccess;
  const credentials = shows ? await p.engine.credentials(tx, placement.placementId) : null;
  return {
    sessionId,
    marketplace: s.marketplace,
    state,
    purchase: {
      offerName: plan.offerName,
      planName: plan.planName,
      subscriptionName: s.name ?? plan.offerName,
      quantity: s.quantity,
      term:
        s.termStartsAt || s.termEndsAt
          ? { startsAt: s.termStartsAt?.toISOString() ?? null, endsAt: s.termEndsAt?.toISOString() ?? null, unit: s.termUnit }
          : null,
      beneficiaryEmail: session.needsAccess ? null : (s.truth.beneficiary?.email ?? null),
      purchaserEmail: session.needsAccess ? null : (s.truth.purchaser?.email ?? null),
    },
    includes: includesOf(plan, s),
    regions: plan.regions,
    defaults: {
      organisation: session.details?.organisation ?? '',
      region: session.details?.region ?? plan.defaultRegion,
      contactName: session.details?.contactName ?? '',
      contactEmail: session.details?.contactEmail ?? (session.needsAccess ? '' : (s.truth.beneficiary?.email ?? '')),
    },
    access: accessOf(session),
    signIn: offersSignIn ? signInOf(sessionId, session) : null,
    progress: progressOf(state, s, session, progress, placement),
    endpoint: credentials
      ? {
          url: credentials.endpoint,
          accountName: credentials.accountName,
          keys: session.hasAccess ? credentials.keys.map((k) => ({ id: k.id, secret: k.secretBase64 })) : null,
          keysShownOnce: true,
        }
      : null,
    keptData: state === 'ended' && session.hasAccess ? keptOf(placement) : null,
    tenant: tenant ? { slug: tenant.slug, displayName: tenant.displayName } : null,
    apiKey: null,
    problem: problemOf(state, s, progress, reference, s.state === 'voided' ? await rejectedBecause(tx, s.subscriptionId) : null),
    support: { email: 'support@harbor-storage.example', reference },
  };
}

function keptOf(placement: PlacementView | null): LandingView['keptData'] {
  if (!placement?.export?.holdUntil || !['ended', 'exporting'].includes(placement.phase)) return null;
  const { state, holdUntil, accessUntil } = placement.export;
  return {
    until: holdUntil.toISOString(),
    export: state,
    readableUntil: placement.phase === 'exporting' ? (accessUntil?.toISOString() ?? null) : null,
  };
}

/** The person whom Microsoft names as beneficiary can prove it; the other marketplaces name none. */
function signInOf(sessionId: string, session: LandingSession): LandingView['signIn'] {
  if (session.marketplace !== 'azure' || session.hasAccess) return null;
  const { signedIn } = session;
  return {
    startUrl: `/landing/sign-in/start/${sessionId}`,
    signedInAs: signedIn && (signedIn.username ?? signedIn.name ?? 'another account'),
  };
}

function accessOf(session: LandingSession): LandingView['access'] {
  const { claim } = session;
  const state = session.hasAccess
    ? 'granted'
    : claim && claim.state !== 'approved'
      ? claim.state
      : session.needsAccess || session.givenElsewhere
        ? 'needed'
        : 'open';
  return { state, askedAt: claim?.askedAt.toISOString() ?? null, reason: claim?.state === 'rejected' ? claim.reason : null };
}

function problemOf(
  state: LandingView['state'],
  s: SubscriptionRecord,
  progress: Progress | null,
  reference: string,
  rejected: string | null,
): LandingView['problem'] {
  if (state === 'failed') return failureWords(progress?.error ?? null, reference);
  if (rejected !== null) return rejectedWords(s.marketplace, rejected);
  return s.state === 'voided' ? voidedWords(s.marketplace) : null;
}

function progressOf(
  state: LandingView['state'],
  s: SubscriptionRecord,
  session: LandingSession,
  progress: Progress | null,
  placement: PlacementView | null,
): LandingProgress | null {
  const asked = session.completedAt ?? s.createdAt;
  const activating = state === 'activating' || state === 'awaiting_marketplace';
  if (!activating && state !== 'provisioning') return null;
  const words = activating
    ? activatingWords(s.marketplace)
    : s.truth.unconfirmed
      ? unconfirmedWords(s.marketplace)
      : stepWords(progress?.stepName ?? null);
  const since = activating ? (placement?.activatedAt ?? asked) : (progress?.since ?? asked);
  const retrying = !activating && progress?.retrying === true;
  const at = STAGES.indexOf(words.stage);
  return {
    code: words.code,
    title: words.title,
    message: retrying ? `${words.message} ${RETRYING}` : words.message,
    awaited: words.awaited,
    since: since.toISOString(),
    retrying,
    stages: STAGES.map((code, i) => ({
      code,
      title: stageTitle(code, s.marketplace),
      state: i < at ? 'done' : i === at ? 'current' : 'ahead',
    })),
  };
}

function stateOf(s: SubscriptionRecord, session: LandingSession, serving: boolean, failed: boolean): LandingView['state'] {
  if (['closing', 'cancelled', 'voided'].includes(s.state)) return 'ended';
  if (session.needsAccess) return 'needs_access';
  if (s.state === 'suspended') return 'suspended';
  if (!s.tenantId || (!session.completedAt && !serving)) return s.tenantId ? 'provisioning' : 'needs_details';
  if (failed) return 'failed';
  if (!serving) return 'provisioning';
  if (s.state === 'active') return 'ready';
  return s.marketplace === 'azure' ? 'activating' : 'awaiting_marketplace';
}

function includesOf(plan: PlanVersion, s: SubscriptionRecord): { label: string; value: string }[] {
  const quotas = plan.quotas.map((q) => ({ label: 'Storage limit', value: bytes(quotaLimit(q, s.quantity)) }));
  const included = plan.meters
    .filter((m) => m.included)
    .map((m) => ({ label: labelOf(m), value: `${m.included!.quantity} ${m.listedUnit} included per ${m.included!.period}` }));
  const metered = plan.meters
    .filter((m) => !m.included && m.emission === 'live')
    .map((m) => ({ label: labelOf(m), value: `metered per ${m.listedUnit}` }));
  return [...quotas, ...included, ...metered];
}

const LABELS: Record<string, string> = {
  stored_bytes: 'Data stored',
  egress_bytes: 'Data read out',
  provisioned_bytes: 'Capacity reserved',
  ingress_bytes: 'Data written',
  requests: 'Requests',
};
const HOW: Partial<Record<MeterTerms['kind'], string>> = { max: ', most in an hour', latest: ', at the end of an hour' };
const labelOf = (m: MeterTerms): string => `${LABELS[m.metric] ?? m.meter}${HOW[m.kind] ?? ''}`;

function bytes(n: bigint): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  let v = n;
  while (i < units.length - 1 && v >= 1024n && v % 1024n === 0n) {
    v /= 1024n;
    i += 1;
  }
  return `${v} ${units[i]}`;
}
