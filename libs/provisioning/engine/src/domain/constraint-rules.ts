/**
 * Rules of the storage software by its version, as data (requirements §1.2, §1.4): what it does not take is refused with the rule's
 * name before anything is sold or built, instead of being found out at a customer's site. Pure.
 */

/** What a plan or a tenant asks of the software. */
export interface SoftwareWish {
  /** For example `5.4`; null when nobody has said. */
  readonly osVersion: string | null;
  /** By which the software shall know the tenant. */
  readonly tenantName?: string | undefined;
  /** Where customer-managed keys shall lie, for example `azure_key_vault`. */
  readonly customerManagedKeys?: string | undefined;
  /** TLS on the Block protocol. */
  readonly blockTls?: boolean | undefined;
}

export interface Violation {
  readonly rule: string;
  readonly reason: string;
}

interface ConstraintRule {
  readonly rule: string;
  /** Why it is refused; null: it is not. */
  broken(wish: SoftwareWish): string | null;
}

export const CONSTRAINT_RULES: readonly ConstraintRule[] = [
  {
    // From 5.3 on, and before it too: an upgrade must strand no tenant (contract provisioning §2.3).
    rule: 'tenant_name.no_underscore',
    broken: ({ tenantName }) =>
      tenantName?.includes('_') ? `The name "${tenantName}" has an underscore, which tenants may not have from version 5.3 on.` : null,
  },
  {
    rule: 'cmk.azure_key_vault',
    broken: ({ customerManagedKeys }) =>
      customerManagedKeys === 'azure_key_vault' ? 'Customer-managed keys in Azure Key Vault are not supported by any version.' : null,
  },
  {
    rule: 'block.tls',
    broken: ({ blockTls, osVersion }) => {
      if (!blockTls) return null;
      if (osVersion === null) return 'TLS for Block is asked for and no version is named that has it.';
      return compareVersions(osVersion, '5.6') <= 0
        ? `TLS for Block is not in version ${osVersion}: 5.6 and earlier do not have it.`
        : null;
    },
  },
];

export function violations(wish: SoftwareWish): Violation[] {
  return CONSTRAINT_RULES.flatMap(({ rule, broken }) => {
    const reason = broken(wish);
    return reason === null ? [] : [{ rule, reason }];
  });
}

/** By number, part by part: 5.10 comes after 5.6. What is no number counts as 0. */
export function compareVersions(a: string, b: string): number {
  const parts = (text: string): number[] => text.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
