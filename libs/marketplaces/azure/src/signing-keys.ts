import type { KeyObject } from 'node:crypto';
import { keyOfJwk, MarketplaceBusy } from '#marketplaces/core';
import { errorText, realNow } from '#platform';
import type { Http } from './access-token.js';
import { fieldsOf, textOf } from './liberal.js';
import type { AzureSettings } from './settings.js';

const MINUTE = 60_000;
/** A withdrawn key stops counting after this. */
const FRESH_MS = 60 * MINUTE;
/** Keys that cannot be asked for anew still serve so long. */
const STALE_MS = 24 * 60 * MINUTE;
const RETRY_MS = 5_000;
const MOST_ABSENT = 100;

/**
 * Entra's signing keys. An unknown key id leads to one new question, at most once a minute of real time: a flood of forged
 * tokens must not become a flood of requests.
 */
export class SigningKeys {
  private keys = new Map<string, KeyObject>();
  private issuers = new Map<string, string>();
  private fetchedAtMs = Number.NEGATIVE_INFINITY;
  private triedAtMs = Number.NEGATIVE_INFINITY;
  private pending: Promise<void> | null = null;
  /** Key ids that the newest list was asked for and lacks. Bounded: strangers make them up. */
  private readonly absent = new Set<string>();
  private readonly url: string;

  constructor(
    private readonly settings: Pick<AzureSettings, 'authorityUrl' | 'tenantId' | 'timeoutsMs'>,
    private readonly http: Http,
    private readonly realMs: () => number = () => realNow().getTime(),
  ) {
    this.url = `${settings.authorityUrl}/${settings.tenantId}/discovery/v2.0/keys`;
  }

  /** Null: Entra has no such key. Throws `MarketplaceBusy` where we cannot know: the sender must come again. */
  async find(keyId: string): Promise<KeyObject | null> {
    const now = this.realMs();
    const known = this.keys.get(keyId);
    if (known && now - this.fetchedAtMs < FRESH_MS) return known;
    const asks = this.pending !== null || now - this.triedAtMs >= (this.keys.size === 0 ? RETRY_MS : MINUTE);
    if (asks) await this.refresh().catch(() => undefined);
    const isCurrent = this.fetchedAtMs >= this.triedAtMs;
    const key = this.keys.get(keyId);
    if (this.realMs() - this.fetchedAtMs > STALE_MS || (!key && !isCurrent))
      throw new MarketplaceBusy('the signing keys of Entra could not be fetched');
    if (key) return key;
    // A key that was made since the list was read must not cost a genuine message: its sender comes again, and then it is asked for.
    if (!asks && !this.absent.has(keyId)) throw new MarketplaceBusy('the token names a key that is not known yet');
    if (this.absent.size < MOST_ABSENT) this.absent.add(keyId);
    return null;
  }

  /** Asks now; many askers share one question. */
  refresh(): Promise<void> {
    this.pending ??= this.fetch().finally(() => {
      this.pending = null;
    });
    return this.pending;
  }

  /** Whose tokens a key may sign, where the list says so; `{tenantid}` stands for any directory. */
  issuerOf(keyId: string): string | null {
    return this.issuers.get(keyId) ?? null;
  }

  get size(): number {
    return this.keys.size;
  }

  private async fetch(): Promise<void> {
    this.triedAtMs = this.realMs();
    const answer = await this.http.request({
      method: 'GET',
      url: this.url,
      timeoutMs: this.settings.timeoutsMs.keys,
      maxBytes: 512 * 1024,
    });
    if (answer.status !== 200) throw new Error(`the key URL answered ${answer.status}`);
    let list: unknown;
    try {
      list = fieldsOf(JSON.parse(answer.text))['keys'];
    } catch (error) {
      throw new Error(`the key URL did not answer JSON: ${errorText(error)}`);
    }
    const keys = new Map<string, KeyObject>();
    const issuers = new Map<string, string>();
    for (const raw of Array.isArray(list) ? list : []) {
      const jwk = fieldsOf(raw);
      const id = textOf(jwk['kid']);
      const key = id ? keyOfJwk(jwk) : null;
      if (id && key) keys.set(id, key);
      const issuer = textOf(jwk['issuer']);
      if (id && issuer) issuers.set(id, issuer);
    }
    if (keys.size === 0) throw new Error('the key URL answered no usable key');
    this.absent.clear();
    // A withdrawn key needs no second question.
    for (const id of this.keys.keys()) if (!keys.has(id)) this.absent.add(id);
    this.keys = keys;
    this.issuers = issuers;
    this.fetchedAtMs = this.realMs();
  }
}
