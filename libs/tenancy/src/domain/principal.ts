/** Who calls. Every REST route needs one of these; a landing visitor is none of them. */
export type Principal =
  | { kind: 'operator'; keyId: string; name: string }
  | { kind: 'tenant'; keyId: string; name: string; tenantId: string }
  | { kind: 'cell'; keyId: string; name: string; clusterId: string };

export type PrincipalKind = Principal['kind'];
