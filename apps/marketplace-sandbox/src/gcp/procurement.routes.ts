import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { GcpContext } from './context.js';
import { GcpError, invalid, notFound, precondition } from './errors.js';
import { parseFilter } from './filter.js';
import type { GcpLifecycle } from './lifecycle.js';
import type { GcpAccount, GcpEntitlement } from './types.js';
import { accountWire, entitlementWire, filterAttributes } from './wire.js';

type ListQuery = { Querystring: { pageSize?: string; pageToken?: string; filter?: string; view?: string } };
type Named = { Params: { provider: string; id: string } };
type Fields = Record<string, unknown>;

const REASON_BYTES = 256;
const ID = ':id(^[^:/]+)';

/** Contract gcp §2. Registered under /gcp/procurement. */
export function procurementRoutes(scope: FastifyInstance, context: GcpContext, lifecycle: GcpLifecycle): void {
  const { state, settings } = context;
  const accounts = '/v1/providers/:provider/accounts';
  const entitlements = '/v1/providers/:provider/entitlements';

  function requireProvider(request: FastifyRequest): void {
    const { provider } = request.params as { provider: string };
    if (provider !== settings().providerId) throw new GcpError('PERMISSION_DENIED', 'The caller does not have permission');
  }
  function account(request: FastifyRequest<Named>): GcpAccount {
    requireProvider(request);
    const found = state.accounts.get(request.params.id);
    if (!found) throw notFound();
    return found;
  }
  function entitlement(request: FastifyRequest<Named>): GcpEntitlement {
    requireProvider(request);
    const found = state.entitlements.get(request.params.id);
    if (!found) throw notFound();
    return found;
  }

  scope.get<ListQuery>(accounts, { config: { operation: 'listAccounts' } }, (request) => {
    requireProvider(request);
    const all = state.accounts.values().sort((a, b) => (a.createTime < b.createTime ? -1 : 1));
    const { items, nextPageToken } = page(all, request.query, 25);
    return {
      ...(items.length ? { accounts: items.map((one) => accountWire(one, settings(), isFullView(request.query.view))) } : {}),
      ...nextPageToken,
    };
  });

  scope.get<Named & { Querystring: { view?: string } }>(`${accounts}/${ID}`, { config: { operation: 'getAccount' } }, (request) =>
    accountWire(account(request as FastifyRequest<Named>), settings(), isFullView(request.query.view)),
  );

  scope.post<Named>(`${accounts}/${ID}::approve`, { config: { operation: 'approveAccount' } }, (request) => {
    const found = account(request);
    const body = fields(request, ['approvalName', 'reason', 'properties']);
    requireSignUp(body);
    // Nothing says that approvals are idempotent: the second one is refused.
    if (found.signUp === 'APPROVED') throw precondition();
    lifecycle.accounts.decideSignUp(found, 'APPROVED', reason(body), properties(body));
    return {};
  });

  scope.post<Named>(`${accounts}/${ID}::reject`, { config: { operation: 'rejectAccount' } }, (request) => {
    const found = account(request);
    const body = fields(request, ['approvalName', 'reason']);
    requireSignUp(body);
    if (found.signUp !== 'PENDING') throw precondition();
    lifecycle.accounts.decideSignUp(found, 'REJECTED', reason(body));
    return {};
  });

  scope.post<Named>(`${accounts}/${ID}::reset`, { config: { operation: 'resetAccount' } }, (request) => {
    const found = account(request);
    fields(request, []);
    lifecycle.reset(found);
    return {};
  });

  scope.get<ListQuery>(entitlements, { config: { operation: 'listEntitlements' } }, (request) => {
    requireProvider(request);
    const matches = parseFilter(request.query.filter);
    const all = state.entitlements
      .values()
      .filter((one) => matches(filterAttributes(one, settings())))
      .sort((a, b) => (a.createTime < b.createTime ? -1 : 1));
    const { items, nextPageToken } = page(all, request.query, 200);
    return { ...(items.length ? { entitlements: items.map((one) => entitlementWire(one, settings())) } : {}), ...nextPageToken };
  });

  scope.get<Named>(`${entitlements}/${ID}`, { config: { operation: 'getEntitlement' } }, (request) =>
    entitlementWire(entitlement(request), settings()),
  );

  scope.post<Named>(`${entitlements}/${ID}::approve`, { config: { operation: 'approveEntitlement' } }, (request) => {
    const found = entitlement(request);
    const body = fields(request, ['properties', 'entitlementMigrated']);
    properties(body);
    // A resource name, not a flag (contract gcp §2).
    if (body['entitlementMigrated'] !== undefined && typeof body['entitlementMigrated'] !== 'string')
      throw invalid("Invalid value at 'entitlement_migrated' (TYPE_STRING).");
    const signUp = state.accounts.get(found.accountId)?.signUp;
    if (found.state !== 'ENTITLEMENT_ACTIVATION_REQUESTED' || found.approvedAt || signUp !== 'APPROVED') throw precondition();
    lifecycle.approve(found);
    return {};
  });

  scope.post<Named>(`${entitlements}/${ID}::reject`, { config: { operation: 'rejectEntitlement' } }, (request) => {
    const found = entitlement(request);
    fields(request, ['reason']);
    if (found.state !== 'ENTITLEMENT_ACTIVATION_REQUESTED') throw precondition();
    lifecycle.cancel(found, 'unknown');
    return {};
  });

  for (const verb of ['approvePlanChange', 'rejectPlanChange'] as const) {
    scope.post<Named>(`${entitlements}/${ID}::${verb}`, { config: { operation: verb } }, (request) => {
      const found = entitlement(request);
      const body = fields(request, verb === 'approvePlanChange' ? ['pendingPlanName'] : ['pendingPlanName', 'reason']);
      if (typeof body['pendingPlanName'] !== 'string' || !body['pendingPlanName']) throw invalid('pending_plan_name is required.');
      if (found.state !== 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL') throw precondition();
      if (body['pendingPlanName'] !== found.newPendingPlan) throw invalid('pending_plan_name is not the plan that is pending.');
      if (verb === 'approvePlanChange') lifecycle.approvePlanChange(found);
      else lifecycle.dropPlanChange(found);
      return {};
    });
  }

  scope.post<Named>(`${entitlements}/${ID}::suspend`, { config: { operation: 'suspendEntitlement' } }, (request) => {
    entitlement(request);
    throw new GcpError('UNIMPLEMENTED', 'Suspension is not yet supported.');
  });

  scope.patch<Named & { Querystring: { updateMask?: string } }>(
    `${entitlements}/${ID}`,
    { config: { operation: 'patchEntitlement' } },
    (request) => {
      const found = entitlement(request as FastifyRequest<Named>);
      const mask = (request.query.updateMask ?? '').replace('message_to_user', 'messageToUser');
      if (mask !== 'messageToUser') throw invalid('update_mask must be messageToUser: nothing else can be changed.');
      const message = (request.body as Fields | undefined)?.['messageToUser'] ?? '';
      if (typeof message !== 'string') throw invalid("Invalid value at 'entitlement.message_to_user' (TYPE_STRING).");
      if (found.state !== 'ENTITLEMENT_ACTIVATION_REQUESTED' && found.state !== 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL')
        throw precondition();
      return entitlementWire(lifecycle.patch(found, { messageToUser: message }), settings());
    },
  );
}

function fields(request: FastifyRequest, known: string[]): Fields {
  const body = request.body ?? {};
  if (typeof body !== 'object' || Array.isArray(body)) throw invalid('Invalid JSON payload received. Root element must be a message.');
  for (const name of Object.keys(body)) {
    if (!known.includes(name)) throw invalid(`Invalid JSON payload received. Unknown name "${name}": Cannot find field.`);
  }
  return body as Fields;
}

/** A reseller is shown in the full view only (contract gcp §2, table). */
function isFullView(view: string | undefined): boolean {
  if (view !== undefined && !['ACCOUNT_VIEW_UNSPECIFIED', 'ACCOUNT_VIEW_BASIC', 'ACCOUNT_VIEW_FULL'].includes(view))
    throw invalid(`Invalid value at 'view' (TYPE_ENUM), "${view}"`);
  return view === 'ACCOUNT_VIEW_FULL';
}

function requireSignUp(body: Fields): void {
  if (body['approvalName'] !== 'signup') throw invalid('approval_name must be "signup".');
}

function reason(body: Fields): string {
  const text = body['reason'] ?? '';
  if (typeof text !== 'string') throw invalid("Invalid value at 'reason' (TYPE_STRING).");
  if (Buffer.byteLength(text) > REASON_BYTES) throw invalid('reason is longer than 256 bytes.');
  return text;
}

function properties(body: Fields): Record<string, string> {
  const given = body['properties'] ?? {};
  if (typeof given !== 'object' || Array.isArray(given) || Object.values(given as object).some((value) => typeof value !== 'string'))
    throw invalid("Invalid value at 'properties'.");
  return given as Record<string, string>;
}

function page<T extends { id: string }>(
  all: T[],
  query: ListQuery['Querystring'],
  most: number,
): { items: T[]; nextPageToken: { nextPageToken?: string } } {
  const size = query.pageSize === undefined ? most : Number(query.pageSize);
  if (!Number.isInteger(size) || size < 0) throw invalid('page_size is not valid.');
  const limit = Math.min(size || most, 200);
  let start = 0;
  if (query.pageToken) {
    const last = Buffer.from(query.pageToken, 'base64url').toString();
    start = all.findIndex((one) => one.id === last) + 1;
    if (start === 0) throw invalid('page_token is not valid.');
  }
  const items = all.slice(start, start + limit);
  const last = items.at(-1);
  const more = last && start + limit < all.length;
  return { items, nextPageToken: more ? { nextPageToken: Buffer.from(last.id).toString('base64url') } : {} };
}
