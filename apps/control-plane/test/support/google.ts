import { createHash, randomUUID } from 'node:crypto';
import { sessionOf, until, type Answer, type House } from './house.js';

export interface Bought {
  entitlementId: string;
  accountId: string;
  signUp: { fields: Record<string, string> };
}
export type Message = Record<string, unknown>;

export const PROVIDER = 'harbor-storage-public';
export const FIELD = 'x-gcp-marketplace-token';
export const tokenOf = (bought: Pick<Bought, 'signUp'>): string => bought.signUp.fields[FIELD]!;
export const hashOf = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

/** A message of Google's shape with an id of its own; older than every other. */
export const say = (eventType: string, entitlementId: string, extra: object = {}): Message => ({
  eventId: randomUUID(),
  eventType,
  providerId: PROVIDER,
  entitlement: { id: entitlementId, updateTime: '2026-01-01T00:00:00.000001Z' },
  ...extra,
});
const keyOf = (m: Message): string => `${String(m['providerId'])}|${String(m['eventType'])}|${String(m['eventId'])}`;

/** Google's side of the sandbox, as a test uses it. */
export class Google {
  constructor(private readonly house: House) {}

  async buy(extra: object = {}): Promise<Bought> {
    return (await this.house.shop('POST', '/gcp/purchases', { planId: 'standard', ...extra })).json as unknown as Bought;
  }

  /** A token for the purchase as somebody else would make it. */
  async forged(entitlementId: string, forge: string): Promise<string> {
    const { json } = await this.house.shop('POST', '/gcp/sign-up-tokens', { entitlementId, forge });
    return tokenOf(json as unknown as Bought);
  }

  /** A genuine token in its parts, to be put together wrongly. */
  async opened(entitlementId: string): Promise<{ header: Record<string, unknown>; claims: Record<string, unknown>; parts: string[] }> {
    const parts = (await this.forged(entitlementId, 'none')).split('.');
    const read = (text: string | undefined): Record<string, unknown> =>
      JSON.parse(Buffer.from(text ?? '', 'base64url').toString()) as Record<string, unknown>;
    return { header: read(parts[0]), claims: read(parts[1]), parts };
  }

  land(token: string): Promise<string> {
    return this.house.post('gcp', { [FIELD]: token });
  }

  /** Lands by the purchase's own form and waits until Google has seen that it serves. */
  async serve(bought: Bought, organisation: string): Promise<Record<string, unknown>> {
    await this.house.land(sessionOf(await this.land(tokenOf(bought))), organisation);
    await this.storedOf(bought, 'ENTITLEMENT_ACTIVE');
    return this.house.subscriptionOf(bought.entitlementId);
  }

  /** What Google has told of a purchase: its own view of it. */
  async sent(bought: Bought): Promise<{ eventType: string; body: Message }[]> {
    return (await this.house.shop('GET', `/gcp/entitlements/${bought.entitlementId}`)).json['notifications'] as never;
  }

  /** What became of a message that Google has sent or is about to send. */
  async storedOf(bought: Bought, eventType: string): Promise<Record<string, unknown>> {
    const message = await until(
      async () => (await this.sent(bought)).find((one) => one.eventType === eventType),
      (one) => one !== undefined,
    );
    return this.house.stored('gcp.pubsub', keyOf(message!.body));
  }

  publish(data: string | Buffer): Promise<Answer> {
    return this.house.shop('POST', '/gcp/messages', typeof data === 'string' ? { text: data } : { base64: data.toString('base64') });
  }

  /** Publishes a message and waits for what became of it. */
  async told(message: Message, key = keyOf(message)): Promise<Record<string, unknown>> {
    await this.publish(JSON.stringify(message));
    return this.house.stored('gcp.pubsub', key);
  }

  /** Every message that was published is taken, repeats too. */
  drained(): Promise<Answer> {
    return until(
      () => this.house.shop('GET', '/gcp/messages'),
      (a) => a.json['unacknowledged'] === 0,
    );
  }
}
