import { randomUUID } from 'node:crypto';
import type { Table } from '../shared/store.js';
import { HOUR, SECOND } from '../shared/clock.js';
import { attemptFaultKinds } from '../shared/faults.js';
import { ControlError } from '../shared/http.js';
import { strikeNotification } from '../shared/notification-faults.js';
import type { AzureContext } from './context.js';
import { offerOf, planOf } from './settings.js';
import type { ManagedApp, ManagedNotification } from './types.js';
import { postWebhook } from './webhook-client.js';

const GIVE_UP_MS = 10 * HOUR;
const LONGEST_PAUSE_MS = 300 * SECOND;
const WINDOW_MS = 10 * SECOND;
const HOLD_MS = 300 * SECOND;

/** Azure Resource Manager's side of managed applications: their life, and the notifications of it. */
export class ManagedApps {
  private readonly notifications: Table<ManagedNotification>;
  private underWay: Promise<void> | null = null;

  constructor(
    private readonly context: AzureContext,
    private readonly kick: () => void,
  ) {
    this.notifications = context.state.managedNotifications;
  }

  /** Deploys one: `Accepted`, then `Succeeded` or `Failed`. */
  create(input: { offerId: string; planId: string; name?: string | undefined; outcome: 'succeeded' | 'failed' }): ManagedApp {
    if (!planOf(this.context.settings(), input.offerId, input.planId))
      throw new ControlError(400, 'plan.unknown', `The offer ${input.offerId} has no plan ${input.planId}.`);
    const at = this.now();
    const name = input.name ?? `app-${randomUUID().slice(0, 8)}`;
    const app: ManagedApp = {
      applicationId: `/subscriptions/${randomUUID()}/resourceGroups/${name}-rg/providers/Microsoft.Solutions/applications/${name}`,
      resourceUsageId: randomUUID(),
      offerId: input.offerId,
      planId: input.planId,
      provisioningState: 'Accepted',
      createdAt: at,
      activatedAt: null,
      deletedAt: null,
      planHistory: [{ planId: input.planId, from: at }],
    };
    this.save(app, 'PUT');
    return this.deployed(app, input.outcome);
  }

  act(resourceUsageId: string, action: string, planId?: string): ManagedApp {
    const app = this.get(resourceUsageId);
    if (app.deletedAt) throw new ControlError(409, 'managed_app.deleted', 'This application is deleted.');
    switch (action) {
      case 'redeploy':
        return this.deployed(app, 'succeeded');
      case 'update': {
        const next = planId ?? app.planId;
        if (!planOf(this.context.settings(), app.offerId, next)) throw new ControlError(400, 'plan.unknown', `There is no plan ${next}.`);
        const history = next === app.planId ? app.planHistory : [...app.planHistory, { planId: next, from: this.now() }];
        return this.save({ ...app, planId: next, planHistory: history, provisioningState: 'Succeeded' }, 'PATCH');
      }
      case 'fail':
        return this.deployed(app, 'failed');
      case 'delete':
        this.save({ ...app, provisioningState: 'Deleting' }, 'DELETE');
        return this.save({ ...app, provisioningState: 'Deleted', deletedAt: this.now() }, 'DELETE');
      case 'fail-delete':
        this.save({ ...app, provisioningState: 'Deleting' }, 'DELETE');
        return this.save({ ...app, provisioningState: 'Failed' }, 'DELETE');
      default:
        throw new ControlError(404, 'action.unknown', `There is no action ${action}.`);
    }
  }

  view(resourceUsageId: string): object {
    const app = this.get(resourceUsageId);
    const sent = this.notifications.values().filter((one) => one.applicationId === app.applicationId);
    return {
      ...app,
      notifications: sent.sort((a, b) => a.sequence - b.sequence).map((one) => ({ ...one, body: JSON.parse(one.body) as unknown })),
    };
  }

  /** Newest first. */
  all(): ManagedApp[] {
    return this.context.state.managedApps.values().sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
  }

  list(): object[] {
    return this.context.state.managedApps.values().map((app) => this.view(app.resourceUsageId));
  }

  /** As GET of the application shows it; undefined where there is none (any more). */
  find(applicationId: string): ManagedApp | undefined {
    return this.context.state.managedApps
      .values()
      .find((app) => app.deletedAt === null && app.applicationId.toLowerCase() === applicationId.toLowerCase());
  }

  /** Sends any body with any signature, once. */
  async deliver(body: unknown, sig: string | null): Promise<object> {
    const { kind: _kind, ...answer } = await postWebhook(this.url(sig), JSON.stringify(body), undefined, WINDOW_MS);
    return answer;
  }

  start(): void {
    this.underWay ??= this.sendDue().finally(() => {
      this.underWay = null;
    });
  }

  async runDue(): Promise<boolean> {
    if (this.due().length === 0 && !this.underWay) return false;
    this.start();
    await this.underWay;
    return true;
  }

  private deployed(app: ManagedApp, outcome: 'succeeded' | 'failed'): ManagedApp {
    if (outcome === 'failed') return this.save({ ...app, provisioningState: 'Failed' }, 'PUT');
    return this.save({ ...app, provisioningState: 'Succeeded', activatedAt: app.activatedAt ?? this.now() }, 'PUT');
  }

  private save(app: ManagedApp, eventType: 'PUT' | 'PATCH' | 'DELETE'): ManagedApp {
    this.context.state.managedApps.put(app.resourceUsageId, app);
    const now = this.now();
    const id = randomUUID();
    const name = `${eventType} ${app.provisioningState}`;
    const { isLost, isReordered, repeats, delayMs } = strikeNotification(this.context.faults, 'azure', name);
    this.notifications.put(id, {
      id,
      applicationId: app.applicationId,
      sequence: this.context.state.nextSequence('managedNotification'),
      name,
      body: JSON.stringify({
        eventType,
        applicationId: app.applicationId,
        eventTime: now.replace('Z', '1163Z'),
        provisioningState: app.provisioningState,
        billingDetails: { resourceUsageId: app.resourceUsageId },
        plan: {
          publisher: offerOf(this.context.settings(), app.offerId)!.publisherId,
          product: app.offerId,
          name: app.planId,
          version: '1.0.1',
        },
        ...(app.provisioningState === 'Failed'
          ? {
              error: {
                code: 'DeploymentFailed',
                message: 'The deployment failed.',
                details: [{ code: 'QuotaExceeded', message: 'No cores are left.' }],
              },
            }
          : {}),
      }),
      state: isLost ? 'lost' : isReordered ? 'held' : 'pending',
      attempts: [],
      repeats,
      createdAt: now,
      // A held one waits for the next to pass it, and not for ever.
      nextAttemptAt: new Date(Date.parse(now) + delayMs + (isReordered ? HOLD_MS : 0)).toISOString(),
    });
    this.kick();
    return app;
  }

  private get(resourceUsageId: string): ManagedApp {
    const app = this.context.state.managedApps.get(resourceUsageId);
    if (!app) throw new ControlError(404, 'managed_app.unknown', 'There is no such managed application.');
    return app;
  }

  private due(): ManagedNotification[] {
    const now = this.context.clock.nowMs();
    return this.notifications
      .values()
      .filter((one) => (one.state === 'pending' || one.state === 'held' || one.repeats > 0) && Date.parse(one.nextAttemptAt) <= now)
      .sort((a, b) => a.sequence - b.sequence);
  }

  private async sendDue(): Promise<void> {
    for (let due = this.due(); due.length > 0; due = this.due())
      for (const one of due) {
        await this.send(one);
        this.releaseHeld(one);
      }
  }

  private async send(one: ManagedNotification): Promise<void> {
    const { managedApps } = this.context.settings();
    const at = this.now();
    const way = this.context.faults.take('azure', one.name, attemptFaultKinds);
    const answer = managedApps.endpoint
      ? await postWebhook(this.url(managedApps.sig), one.body, undefined, WINDOW_MS, {}, way)
      : { status: null, body: null, error: 'no endpoint is set', tookMs: 0 };
    const { status, body, error, tookMs } = answer;
    const attempts = [...one.attempts, { at, status, answer: body, error, tookMs }].slice(-20);
    const nowMs = this.context.clock.nowMs();
    // Sent once more after it has come: what is answered to that one counts for nothing.
    if (one.state === 'delivered' || one.state === 'dropped') {
      this.notifications.put(one.id, { ...one, attempts, repeats: one.repeats - 1 });
      return;
    }
    // Again on 5xx, 429 and silence, for ten hours; any other answer than 200 drops it (contract azure §7).
    const again = status === null || status >= 500 || status === 429;
    const isOver = nowMs - Date.parse(one.createdAt) >= GIVE_UP_MS;
    const pause = again ? Math.min(LONGEST_PAUSE_MS, SECOND * 2 ** Math.min(20, attempts.length - 1)) : 0;
    this.notifications.put(one.id, {
      ...one,
      attempts,
      state: again ? (isOver ? 'failed' : 'pending') : status === 200 ? 'delivered' : 'dropped',
      repeats: again && isOver ? 0 : one.repeats,
      nextAttemptAt: new Date(nowMs + pause).toISOString(),
    });
  }

  private releaseHeld(passed: ManagedNotification): void {
    for (const held of this.notifications.values())
      if (held.state === 'held' && held.id !== passed.id && held.applicationId === passed.applicationId)
        this.notifications.put(held.id, { ...held, state: 'pending', nextAttemptAt: this.now() });
  }

  /** The service appends `/resource` and the secret to what the publisher gave. */
  private url(sig: string | null): string {
    const { endpoint } = this.context.settings().managedApps;
    if (!endpoint) throw new ControlError(409, 'managed_app.no_endpoint', 'azure.managedApps.endpoint is not set.');
    return `${endpoint.replace(/\/+$/, '')}/resource${sig === null ? '' : `?sig=${encodeURIComponent(sig)}`}`;
  }

  private now(): string {
    return this.context.clock.now().toISOString();
  }
}
