import { z } from 'zod';
import { legacyPurchaseBody, queueMessageBody, snsBody, subscribeBody } from '../aws/channels/control.routes.js';
import { adjustBody as awsAdjust, eventBody, purchaseBody as awsPurchase } from '../aws/control.routes.js';
import { managedAppBody, managedNotificationBody } from '../azure/managed-apps.routes.js';
import { adjustBody as azureAdjust, purchaseBody as azurePurchase, webhookBody } from '../azure/control.routes.js';
import {
  accountBody as gcpAccountBody,
  adjustBody as gcpAdjust,
  messageBody,
  purchaseBody as gcpPurchase,
  pushBody,
  tokenBody,
} from '../gcp/control.routes.js';
import { advanceBody, participantBody } from './clock.routes.js';
import { faultBody } from './faults.js';

export interface Note {
  summary: string;
  body?: z.ZodType;
  query?: string[];
  status?: number;
  answer?: string;
}

const action = z.looseObject({}).describe('Depends on the action: see the README.');
const ADJUST = 'Changes one accepted quantity, as a fault of the marketplace would';

/** What the routes themselves do not tell. Bodies are the schemas that the routes check with. */
export const CONTROL_NOTES: Record<string, Note> = {
  'GET /openapi.json': { summary: 'This document' },
  'GET /healthz': { summary: 'Whether it runs' },
  'GET /': { summary: 'The storefront, a page' },
  'GET /faults': { summary: 'The page on which faults are armed, watched and taken back' },
  'GET /sandbox/settings': { summary: 'Publishers, listings, buyers and quirks in force' },
  'PUT /sandbox/settings': { summary: 'Merges objects and replaces lists', body: z.looseObject({}) },
  'GET /sandbox/billed': { summary: 'What the marketplaces would bill', query: ['marketplace', 'externalId'] },
  'GET /sandbox/calls': { summary: 'Calls to the marketplaces, oldest first', query: ['marketplace', 'operation', 'since', 'limit'] },
  'GET /sandbox/faults': {
    summary: 'Faults that wait to strike and those that are spent, what each has struck, and the seed of those that have none of their own',
  },
  'POST /sandbox/faults': { summary: 'Orders a fault', body: faultBody, status: 201 },
  'DELETE /sandbox/faults/{id}': { summary: 'Takes one fault back', status: 204 },
  'DELETE /sandbox/faults': { summary: 'Takes every fault back', status: 204 },
  'GET /sandbox/clock': { summary: 'Business time and who follows it' },
  'POST /sandbox/clock/participants': { summary: 'Joins the clock', body: participantBody },
  'DELETE /sandbox/clock/participants/{name}': { summary: 'Leaves the clock', status: 204 },
  'POST /sandbox/clock/advance': { summary: 'Moves business time in steps that end when all is calm', body: advanceBody },
  'POST /sandbox/azure/purchases': { summary: 'A purchase; answers its landing URL', body: azurePurchase, status: 201 },
  'GET /sandbox/azure/subscriptions': { summary: "Microsoft's view of every purchase" },
  'GET /sandbox/azure/subscriptions/{id}': { summary: "Microsoft's view of one: operations and webhooks with every answer" },
  'POST /sandbox/azure/subscriptions/{id}/{action}': {
    summary: 'change-plan, change-quantity, suspend, reinstate, renew, unsubscribe, manage',
    body: action,
    status: 202,
  },
  'POST /sandbox/azure/billed/adjust': { summary: ADJUST, body: azureAdjust },
  'POST /sandbox/azure/keys/{step}': { summary: 'Rotates the keys of Entra: announce, switch, withdraw; answers the published key ids' },
  'POST /sandbox/azure/managed-applications': {
    summary: 'Deploys a managed application: PUT Accepted, then Succeeded or Failed',
    body: managedAppBody,
    status: 201,
  },
  'GET /sandbox/azure/managed-applications': { summary: 'Every managed application with its notifications' },
  'GET /sandbox/azure/managed-applications/{id}': { summary: 'One, by its resource usage id' },
  'POST /sandbox/azure/managed-applications/{id}/{action}': {
    summary: 'update {planId?}, fail, redeploy, delete, fail-delete',
    status: 202,
  },
  'POST /sandbox/azure/managed-notifications': {
    summary: 'Sends any body once to the notification endpoint, with any signature or none',
    body: managedNotificationBody,
  },
  'POST /sandbox/azure/webhooks': { summary: 'Sends any body once, signed or forged', body: webhookBody },
  'POST /sandbox/aws/purchases': { summary: 'An agreement; answers its registration form', body: awsPurchase, status: 201 },
  'GET /sandbox/aws/agreements': { summary: "AWS's view of every agreement" },
  'GET /sandbox/aws/agreements/{id}': { summary: "AWS's view of one, with its deliveries" },
  'POST /sandbox/aws/agreements/{id}/{action}': {
    summary: 'cancel, expire, amend, license, entitle, advisory, billing-adjustment, renew, replace, register',
    body: action,
    status: 202,
  },
  'POST /sandbox/aws/billed/adjust': { summary: ADJUST, body: awsAdjust },
  'POST /sandbox/aws/legacy/purchases': { summary: 'A customer of a legacy listing', body: legacyPurchaseBody, status: 201 },
  'GET /sandbox/aws/legacy/customers': { summary: "AWS's view of the customers of legacy listings" },
  'POST /sandbox/aws/legacy/customers/{id}/{action}': {
    summary: 'subscribe-success, subscribe-fail, unsubscribe, entitle, end-contract, tell, register',
    body: action,
    status: 202,
  },
  'GET /sandbox/aws/sns/subscriptions': { summary: 'Who is subscribed to the topics, confirmed or not, with the tokens' },
  'POST /sandbox/aws/sns/subscriptions': { summary: 'Subscribes an address or a queue to a topic', body: subscribeBody, status: 201 },
  'POST /sandbox/aws/sns/messages': { summary: 'Posts any message of SNS once, signed or forged', body: snsBody },
  'GET /sandbox/aws/queues/{name}/messages': { summary: 'What is in a queue, and its address' },
  'POST /sandbox/aws/queues/{name}/messages': { summary: 'Puts any text into a queue', body: queueMessageBody, status: 201 },
  'POST /sandbox/aws/events': { summary: 'Sends any event once', body: eventBody },
  'POST /sandbox/gcp/purchases': { summary: 'An order; answers its sign-up form', body: gcpPurchase, status: 201 },
  'GET /sandbox/gcp/entitlements': { summary: "Google's view of every entitlement" },
  'GET /sandbox/gcp/entitlements/{id}': { summary: "Google's view of one, with its messages" },
  'POST /sandbox/gcp/entitlements/{id}/{action}': {
    summary:
      'change-plan, replace-offer, end-offer, portal, cancel-plan-change, cancel, cancel-now, revert-cancel, renew, billing-disable, billing-enable, delete, check-error, report-errors, sign-up, notify',
    body: action,
    status: 202,
  },
  'POST /sandbox/gcp/sign-up-tokens': { summary: 'A sign-up token, good or forged', body: tokenBody, status: 201 },
  'POST /sandbox/gcp/messages': { summary: "Publishes any bytes on Google's topic", body: messageBody, status: 201 },
  'GET /sandbox/gcp/messages': { summary: 'How many messages the subscription has not acknowledged' },
  'POST /sandbox/gcp/accounts': { summary: 'A buyer who can sign up before any order of this product is there', body: gcpAccountBody },
  'POST /sandbox/gcp/accounts/{id}/unapprove': { summary: 'The sign-up waits for an approval again; no message tells of it' },
  'POST /sandbox/gcp/pushes': { summary: 'Pushes any message once, signed or forged', body: pushBody },
  'POST /sandbox/gcp/accounts/{id}/delete': { summary: 'Deletes an account', status: 202 },
  'POST /sandbox/gcp/keys/rotate': { summary: 'A new signing key', status: 201 },
  'POST /sandbox/gcp/billed/adjust': { summary: ADJUST, body: gcpAdjust },
};
