import type { KeyObject } from 'node:crypto';
import { keyOfCertificate, MarketplaceBusy } from '#marketplaces/core';
import { realNow } from '#platform';
import { fieldsOf, jsonOf, textOf } from './liberal.js';
import { type Http, TIMEOUTS_MS } from './settings.js';

const MINUTE = 60_000;
const FRESH_MS = { least: 5 * MINUTE, usual: 60 * MINUTE, most: 24 * 60 * MINUTE };
/** Keys that cannot be asked for anew still serve so long. */
const STALE_MS = 48 * 60 * MINUTE;
const RETRY_MS = 5_000;
const MOST_ABSENT = 100;

/**
 * The certificates behind sign-up tokens or behind push tokens, from one configured URL only: the `iss` of an unverified token
 * is never fetched (contract gcp §1). An unknown key id leads to one new question, at most once a minute of real time.
 */
export class SigningKeys {
  private keys = new Map<string, KeyObject>();
  private fetchedAtMs = Number.NEGATIVE_INFINITY;
  private triedAtMs = Number.NEGATIVE_INFINITY;
  private freshMs = FRESH_MS.usual;
  private pending: Promise<void> | null = null;
  /** Key ids that the newest list was asked for and lacks. Bounded: strangers make them up. */
  private readonly absent = new Set<string>();

  constructor(
    private readonly url: string,
    private readonly http: Http,
    private readonly realMs: () => number = () => realNow().getTime(),
  ) {}

  /** Null: Google has no such key. Throws `MarketplaceBusy` where we cannot know. */
  async find(keyId: string): Promise<KeyObject | null> {
    const known = this.keys.get(keyId);
    if (known && this.realMs() - this.fetchedAtMs < this.freshMs) return known;
    const asks = this.pending !== null || this.realMs() - this.triedAtMs >= (this.keys.size === 0 ? RETRY_MS : MINUTE);
    if (asks) await this.refresh().catch(() => undefined);
    const isCurrent = this.fetchedAtMs >= this.triedAtMs;
    const key = this.keys.get(keyId);
    if (this.realMs() - this.fetchedAtMs > STALE_MS || (!key && !isCurrent))
      throw new MarketplaceBusy("the certificates of Google's tokens could not be fetched");
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

  get size(): number {
    return this.keys.size;
  }

  private async fetch(): Promise<void> {
    this.triedAtMs = this.realMs();
    const answer = await this.http.request({
      method: 'GET',
      url: this.url,
      timeoutMs: TIMEOUTS_MS.keys,
      maxBytes: 512 * 1024,
    });
    if (answer.status !== 200) throw new Error(`the key URL answered ${answer.status}`);
    const keys = new Map<string, KeyObject>();
    for (const [id, pem] of Object.entries(fieldsOf(jsonOf(answer.text)))) {
      const key = keyOfCertificate(textOf(pem) ?? '');
      if (key) keys.set(id, key);
    }
    if (keys.size === 0) throw new Error('the key URL answered no usable certificate');
    const maxAge = /(?:^|[,\s])max-age=(\d{1,9})/i.exec(answer.headers['cache-control'] ?? '')?.[1];
    this.freshMs = maxAge === undefined ? FRESH_MS.usual : Math.min(Math.max(Number(maxAge) * 1_000, FRESH_MS.least), FRESH_MS.most);
    this.absent.clear();
    // A withdrawn key needs no second question.
    for (const id of this.keys.keys()) if (!keys.has(id)) this.absent.add(id);
    this.keys = keys;
    this.fetchedAtMs = this.realMs();
  }
}
