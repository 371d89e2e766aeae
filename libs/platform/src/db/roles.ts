import { deriveSecret } from '../crypto.js';

/**
 * Database roles (architecture §7). `owner` runs migrations only; `tenant` sees one tenant by context; `ops` (workers,
 * operators, webhooks) has explicit cross-tenant policies and no BYPASSRLS; `intake` writes usage for the tenants of its context.
 */
export type DatabaseRole = 'owner' | 'tenant' | 'ops' | 'intake';
export const SERVING_ROLES = ['tenant', 'ops', 'intake'] as const;
export type ServingRole = (typeof SERVING_ROLES)[number];

export const roleName = (role: DatabaseRole): string => `berth_${role}`;
export const rolePassword = (role: DatabaseRole, secret: string): string => deriveSecret(secret, `database-role/${role}`);

/** The connection URL of a role on the server that `adminUrl` names. */
export function roleUrl(adminUrl: string, role: DatabaseRole, secret: string): string {
  const u = new URL(adminUrl);
  u.username = roleName(role);
  u.password = encodeURIComponent(rolePassword(role, secret));
  return u.toString();
}
