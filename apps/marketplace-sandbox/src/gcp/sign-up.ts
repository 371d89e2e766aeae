import type { GcpContext } from './context.js';
import { ISSUER, type SignUpKeys } from './sign-up-keys.js';
import type { GcpAccount } from './types.js';

export const forgeries = ['none', 'wrong_key', 'wrong_aud', 'expired', 'too_long', 'wrong_iss', 'alg_none'] as const;
export type Forgery = (typeof forgeries)[number];

export interface SignUpForm {
  url: string;
  method: 'POST';
  fields: { 'x-gcp-marketplace-token': string };
}

const LIFE_SECONDS = 300;

/** The form that Google makes the buyer's browser post (contract gcp §1). */
export class SignUp {
  constructor(
    private readonly context: GcpContext,
    private readonly keys: SignUpKeys,
  ) {}

  async form(account: GcpAccount, orders: string[], forge: Forgery = 'none'): Promise<SignUpForm> {
    return {
      url: this.context.settings().signUpUrl,
      method: 'POST',
      fields: { 'x-gcp-marketplace-token': await this.token(account, orders, forge) },
    };
  }

  private async token(account: GcpAccount, orders: string[], forge: Forgery): Promise<string> {
    const settings = this.context.settings();
    const named = orders.map((orderId) => (settings.ordersAs === 'objects' ? { orderId } : orderId));
    // Signatures and token life use real time; the virtual clock never touches them.
    const iat = Math.floor(Date.now() / 1000) - (forge === 'expired' ? 3600 : 0);
    const claims = {
      iss: forge === 'wrong_iss' ? ISSUER.replace('cloud-commerce-partner', 'somebody-else') : ISSUER,
      iat,
      exp: iat + (forge === 'too_long' ? 3600 : LIFE_SECONDS),
      aud: forge === 'wrong_aud' ? 'another-seller.example' : settings.audiences[0],
      sub: account.id,
      google: {
        roles: ['account_admin'],
        user_identity: account.userIdentity,
        ...(settings.ordersAt === 'google' || settings.ordersAt === 'both' ? { orders: named } : {}),
      },
      ...(settings.ordersAt === 'top' || settings.ordersAt === 'both' ? { orders: named } : {}),
    };
    if (forge === 'alg_none') {
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      return `${part({ alg: 'none' })}.${part(claims)}.`;
    }
    return this.keys.sign(claims, forge === 'wrong_key');
  }
}
