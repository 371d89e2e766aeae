import { X509Certificate } from 'node:crypto';
import { MarketplaceBusy } from '#marketplaces/core';
import { errorText, type GuardedHttp, HttpTransportError, realNow } from '#platform';
import { domainOf } from '../hosts.js';

/** Real milliseconds for the whole fetch. */
const FETCH_MS = 3_000;
const MAX_BYTES = 16 * 1024;
const KEPT = 16;
/** Anybody may post and name an address, so fetches have a cap; what is kept already needs none. */
const FETCHES_PER_MINUTE = 10;
const MINUTE_MS = 60_000;
const FILE = /^\/SimpleNotificationService-[0-9a-f]{8,128}\.pem$/;

/** The certificate is no proof: a definite no, as against `MarketplaceBusy`, after which SNS sends again. */
export class CertificateRefused extends Error {
  constructor(
    readonly code: 'aws.sns_certificate_url' | 'aws.sns_certificate',
    message: string,
  ) {
    super(message);
  }
}

/** Fetches and keeps the certificates of SNS. The caller has found the topic on the allow-list; its region decides the host. */
export class SnsCertificates {
  private readonly kept = new Map<string, X509Certificate>();
  private readonly fetching = new Map<string, Promise<X509Certificate>>();
  private fetchedAt: number[] = [];

  constructor(
    private readonly http: GuardedHttp,
    /** Null: SNS itself. Else the base under which the sandbox serves its certificate. */
    private readonly endpoint: string | null,
    private readonly realMs: () => number = () => performance.now(),
  ) {}

  /** Real time: a certificate's life is not business time. */
  async get(url: string, region: string): Promise<X509Certificate> {
    if (!this.isOurs(url, region))
      throw new CertificateRefused('aws.sns_certificate_url', `the certificate is not one of sns.${region}.${domainOf(region)}`);
    const known = this.kept.get(url);
    const certificate = known ?? (await this.fetchOnce(url));
    // Each time: a kept one expires too.
    const now = realNow();
    if (now < new Date(certificate.validFrom) || now > new Date(certificate.validTo))
      throw new CertificateRefused('aws.sns_certificate', 'the certificate is not valid at this time');
    if (!isOfSns(certificate, region)) throw new CertificateRefused('aws.sns_certificate', 'the certificate is not made out to SNS');
    if (!known) {
      if (this.kept.size >= KEPT) this.kept.delete(this.kept.keys().next().value!);
      this.kept.set(url, certificate);
    }
    return certificate;
  }

  /** Letter by letter: no user information, port, query, other spelling or other host (stack.md §5.2). */
  private isOurs(url: string, region: string): boolean {
    const base = this.endpoint?.replace(/\/$/, '') ?? `https://sns.${region}.${domainOf(region)}`;
    return url.startsWith(`${base}/`) && FILE.test(url.slice(base.length)) && URL.canParse(url) && new URL(url).href === url;
  }

  /** Many messages at once share one fetch. Over the cap is `MarketplaceBusy`: a genuine message comes again. */
  private fetchOnce(url: string): Promise<X509Certificate> {
    const now = this.realMs();
    const running = this.fetching.get(url);
    if (running) return running;
    this.fetchedAt = this.fetchedAt.filter((at) => at > now - MINUTE_MS);
    if (this.fetchedAt.length >= FETCHES_PER_MINUTE)
      return Promise.reject(new MarketplaceBusy('too many certificates of SNS were asked for in this minute'));
    this.fetchedAt.push(now);
    const fetched = this.fetch(url).finally(() => this.fetching.delete(url));
    this.fetching.set(url, fetched);
    return fetched;
  }

  private async fetch(url: string): Promise<X509Certificate> {
    let answer;
    try {
      answer = await this.http.request({ method: 'GET', url, timeoutMs: FETCH_MS, maxBytes: MAX_BYTES });
    } catch (error) {
      if (error instanceof HttpTransportError && ['http.not_allowed', 'http.too_large'].includes(error.code))
        throw new CertificateRefused('aws.sns_certificate', error.message);
      throw new MarketplaceBusy(`the certificate of SNS cannot be fetched: ${errorText(error)}`);
    }
    if (answer.status >= 500 || answer.status === 429)
      throw new MarketplaceBusy(`the certificate of SNS is answered with ${answer.status}`);
    if (answer.status !== 200) throw new CertificateRefused('aws.sns_certificate', `the certificate is answered with ${answer.status}`);
    try {
      return new X509Certificate(answer.text);
    } catch {
      throw new CertificateRefused('aws.sns_certificate', 'what is served is no certificate');
    }
  }
}

function isOfSns(certificate: X509Certificate, region: string): boolean {
  const options = { wildcards: false, subject: 'always' } as const;
  const domain = domainOf(region);
  return [`sns.${domain}`, `sns.${region}.${domain}`].some((name) => certificate.checkHost(name, options) !== undefined);
}
