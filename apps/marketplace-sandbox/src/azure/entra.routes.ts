import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { type EntraKeys, realSeconds } from './entra-keys.js';
import { EntraRefusal, type Form, required, sendRefusal } from './entra-refusal.js';
import type { SignIn } from './sign-in.js';
import type { AzureSettings } from './settings.js';
import { MARKETPLACE_APP_ID } from './types.js';

type TenantParams = { Params: { tenant: string } };

const GRAPH = 'https://graph.microsoft.com';
const ARM = 'https://management.azure.com';
const RESOURCES = new Set([MARKETPLACE_APP_ID, GRAPH, ARM]);

/** Stands for https://login.microsoftonline.com (contract azure §1). Registered under /azure/login. */
export function entraRoutes(scope: FastifyInstance, keys: EntraKeys, settings: () => AzureSettings, signIn: SignIn): void {
  scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    if (error instanceof EntraRefusal) return sendRefusal(reply, error);
    return reply.code(error.statusCode ?? 500).send({ error: 'invalid_request', error_description: error.message });
  });

  scope.post<TenantParams & { Body: Form }>('/:tenant/oauth2/v2.0/token', { config: { operation: 'token' } }, async (request, reply) => {
    const form = request.body ?? {};
    if (form['grant_type'] === 'authorization_code') return reply.header('cache-control', 'no-store').send(await signIn.redeem(form));
    const scopeText = required(form, 'scope');
    if (!scopeText.endsWith('/.default')) {
      throw new EntraRefusal(
        400,
        'invalid_scope',
        1002012,
        `The provided value for scope ${scopeText} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).`,
      );
    }
    const token = await issue(keys, settings(), request.params.tenant, form, scopeText.slice(0, -'/.default'.length));
    return reply.header('cache-control', 'no-store').send({
      token_type: 'Bearer',
      expires_in: token.lifetime,
      ext_expires_in: token.lifetime,
      access_token: token.text,
    });
  });

  scope.post<TenantParams & { Body: Form }>('/:tenant/oauth2/token', { config: { operation: 'token' } }, async (request, reply) => {
    const form = request.body ?? {};
    const resource = required(form, 'resource');
    const token = await issue(keys, settings(), request.params.tenant, form, resource);
    // v1 answers numbers as text.
    return reply.header('cache-control', 'no-store').send({
      token_type: 'Bearer',
      expires_in: String(token.lifetime),
      ext_expires_in: String(token.lifetime),
      expires_on: String(token.expiresAt),
      not_before: String(token.notBefore),
      resource,
      access_token: token.text,
    });
  });

  const jwks = (): object => keys.jwks();
  // The newer list names the issuer of each key: of any directory, or of the one that was asked for.
  scope.get<TenantParams>('/:tenant/discovery/v2.0/keys', { config: { operation: 'jwks' } }, ({ params: { tenant } }) => ({
    keys: keys.jwks().keys.map((key) => ({
      ...key,
      issuer: `https://login.microsoftonline.com/${tenant === 'common' ? '{tenantid}' : tenant}/v2.0`,
    })),
  }));
  scope.get('/:tenant/discovery/keys', { config: { operation: 'jwks' } }, jwks);

  scope.get<TenantParams>('/:tenant/v2.0/.well-known/openid-configuration', { config: { operation: 'metadata' } }, (request) => {
    const tenant = request.params.tenant;
    const base = `https://login.microsoftonline.com/${tenant}`;
    return {
      issuer: `${base}/v2.0`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
      jwks_uri: `${base}/discovery/v2.0/keys`,
      token_endpoint_auth_methods_supported: ['client_secret_post'],
      response_types_supported: ['code', 'token'],
      subject_types_supported: ['pairwise'],
      id_token_signing_alg_values_supported: ['RS256'],
    };
  });

  scope.get('/common/discovery/instance', { config: { operation: 'metadata' } }, () => ({
    tenant_discovery_endpoint: 'https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration',
    'api-version': '1.1',
    metadata: [
      {
        preferred_network: 'login.microsoftonline.com',
        preferred_cache: 'login.windows.net',
        aliases: ['login.microsoftonline.com', 'login.windows.net', 'login.microsoft.com', 'sts.windows.net'],
      },
    ],
  }));
}

async function issue(
  keys: EntraKeys,
  settings: AzureSettings,
  tenantId: string,
  form: Form,
  resource: string,
): Promise<{ text: string; lifetime: number; notBefore: number; expiresAt: number }> {
  const grant = required(form, 'grant_type');
  if (grant !== 'client_credentials')
    throw new EntraRefusal(400, 'unsupported_grant_type', 70003, `The app requested an unsupported grant type '${grant}'.`);
  const clientId = required(form, 'client_id');
  const publisher = settings.publishers.find((one) => one.tenantId === tenantId);
  if (!publisher) {
    throw new EntraRefusal(
      400,
      'invalid_request',
      90002,
      `Tenant '${tenantId}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.`,
    );
  }
  const app: { clientSecret: string; secretExpiresAt?: string } | undefined =
    publisher.apps.find((one) => one.clientId === clientId) ?? (settings.signIn?.clientId === clientId ? settings.signIn : undefined);
  if (!app) {
    throw new EntraRefusal(
      400,
      'unauthorized_client',
      700016,
      `Application with identifier '${clientId}' was not found in the directory '${tenantId}'.`,
    );
  }
  const secret = form['client_secret'];
  if (!secret) {
    throw new EntraRefusal(
      401,
      'invalid_client',
      7000218,
      "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    );
  }
  if (secret !== app.clientSecret) {
    throw new EntraRefusal(
      401,
      'invalid_client',
      7000215,
      `Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '${clientId}'.`,
    );
  }
  if (app.secretExpiresAt && Date.parse(app.secretExpiresAt) <= Date.now()) {
    throw new EntraRefusal(401, 'invalid_client', 7000222, `The provided client secret keys for app '${clientId}' are expired.`);
  }
  // An application may always ask for itself.
  if (!RESOURCES.has(resource) && resource !== clientId) {
    throw new EntraRefusal(
      400,
      'invalid_resource',
      500011,
      `The resource principal named ${resource} was not found in the tenant named ${tenantId}.`,
    );
  }
  const now = realSeconds();
  const lifetime = settings.tokenLifetimeSeconds;
  const text = await keys.sign({
    aud: resource,
    iss: `https://sts.windows.net/${tenantId}/`,
    iat: now,
    nbf: now,
    exp: now + lifetime,
    appid: clientId,
    appidacr: '1',
    tid: tenantId,
    ver: '1.0',
    uti: randomUUID(),
  });
  return { text, lifetime, notBefore: now, expiresAt: now + lifetime };
}
