import { z } from 'zod';
import { flag } from './flag.js';
import { type Given, listOf } from './pairs.js';

const url = z.url();

export const gcpVariables = {
  GCP_PROVIDER_ID: z.string().optional(),
  GCP_PROJECT_ID: z.string().optional(),
  GCP_SUBSCRIPTION: z.string().optional(),
  GCP_SERVICE_NAME: z.string().optional(),
  GCP_AUDIENCES: z.string().optional(),
  GCP_PROCUREMENT_URL: url.default('https://cloudcommerceprocurement.googleapis.com'),
  GCP_SERVICE_CONTROL_URL: url.default('https://servicecontrol.googleapis.com'),
  GCP_SERVICE_MANAGEMENT_URL: url.default('https://servicemanagement.googleapis.com'),
  GCP_SIGNUP_KEYS_URL: url.default('https://www.googleapis.com/robot/v1/metadata/x509/cloud-commerce-partner@system.gserviceaccount.com'),
  /** Google's keys of OIDC tokens (push), as a map of certificates. */
  GCP_OIDC_KEYS_URL: url.default('https://www.googleapis.com/oauth2/v1/certs'),
  GCP_PUSH_AUDIENCE: z.string().optional(),
  GCP_PUSH_SERVICE_ACCOUNT: z.email().optional(),
  GCP_SAFE_RESEND: flag.default(true),
  GCP_UNREAD_METRIC_TYPE: z.enum(['INT64', 'DOUBLE']).optional(),
  /** `host:port` of a Pub/Sub that needs no credentials (the sandbox's). */
  GCP_PUBSUB_ENDPOINT: z.string().optional(),
};
type GcpVariables = z.infer<z.ZodObject<typeof gcpVariables>>;

export interface GcpConfig {
  providerId: string;
  projectId: string;
  subscription: string;
  serviceName: string;
  audiences: string[];
  procurementUrl: string;
  serviceControlUrl: string;
  serviceManagementUrl: string;
  signUpKeysUrl: string;
  pubsubEndpoint: string | null;
  /** Set where Pub/Sub pushes to `/webhooks/gcp/pubsub`; then nothing is pulled. */
  push: { audience: string; serviceAccount: string } | null;
  oidcKeysUrl: string;
  /** Whether Google is trusted to count an operation that is sent again with the same id and bytes once (ADR 0012). */
  safeResend: boolean;
  /** The type of every metric where the live service configuration may not be read; null: usage waits. */
  unreadMetricType: 'INT64' | 'DOUBLE' | null;
  /** The sandbox takes calls without Google credentials. */
  anonymous: boolean;
}

export const GCP_ENDPOINTS = [
  'GCP_PROCUREMENT_URL',
  'GCP_SERVICE_CONTROL_URL',
  'GCP_SERVICE_MANAGEMENT_URL',
  'GCP_SIGNUP_KEYS_URL',
  'GCP_OIDC_KEYS_URL',
  'GCP_PUBSUB_ENDPOINT',
] as const;

/** Null: Google Cloud is not sold. In the sandbox every service has its own path below one address. */
export function gcpOf(e: GcpVariables, given: Given, sandbox: string | null): GcpConfig | null {
  if (!e.GCP_PROVIDER_ID || !e.GCP_PROJECT_ID || !e.GCP_SUBSCRIPTION || !e.GCP_SERVICE_NAME) return null;
  const at = (name: string, fallback: string, path: string): string => given[name] ?? (sandbox ? `${sandbox}/gcp${path}` : fallback);
  return {
    providerId: e.GCP_PROVIDER_ID,
    projectId: e.GCP_PROJECT_ID,
    subscription: e.GCP_SUBSCRIPTION,
    serviceName: e.GCP_SERVICE_NAME,
    audiences: listOf(e.GCP_AUDIENCES),
    procurementUrl: at('GCP_PROCUREMENT_URL', e.GCP_PROCUREMENT_URL, '/procurement'),
    serviceControlUrl: at('GCP_SERVICE_CONTROL_URL', e.GCP_SERVICE_CONTROL_URL, '/servicecontrol'),
    serviceManagementUrl: at('GCP_SERVICE_MANAGEMENT_URL', e.GCP_SERVICE_MANAGEMENT_URL, '/servicemanagement'),
    signUpKeysUrl: at(
      'GCP_SIGNUP_KEYS_URL',
      e.GCP_SIGNUP_KEYS_URL,
      '/robot/v1/metadata/x509/cloud-commerce-partner@system.gserviceaccount.com',
    ),
    pubsubEndpoint: e.GCP_PUBSUB_ENDPOINT ?? null,
    push:
      e.GCP_PUSH_AUDIENCE && e.GCP_PUSH_SERVICE_ACCOUNT
        ? { audience: e.GCP_PUSH_AUDIENCE, serviceAccount: e.GCP_PUSH_SERVICE_ACCOUNT }
        : null,
    oidcKeysUrl: at('GCP_OIDC_KEYS_URL', e.GCP_OIDC_KEYS_URL, '/oauth2/v1/certs'),
    safeResend: e.GCP_SAFE_RESEND,
    unreadMetricType: e.GCP_UNREAD_METRIC_TYPE ?? null,
    anonymous: sandbox !== null,
  };
}

/** What one setting alone cannot tell. */
export function gcpFaults(given: Given): string[] {
  if (!given['GCP_PUSH_AUDIENCE'] !== !given['GCP_PUSH_SERVICE_ACCOUNT']) {
    return [
      'GCP_PUSH_AUDIENCE and GCP_PUSH_SERVICE_ACCOUNT belong together: anybody can have a Google token made for an audience, so the audience alone proves nothing (set both to be pushed to, or none to pull)',
    ];
  }
  return [];
}
