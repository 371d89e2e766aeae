import { lookup as dnsLookup } from 'node:dns';
import { BlockList, isIP } from 'node:net';
import { Agent, request as undiciRequest } from 'undici';

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: string;
  headers?: Record<string, string>;
  body?: string;
  /** Real milliseconds for the whole exchange; default 20 s. */
  timeoutMs?: number;
  /** Longest answer that is read; default 4 MiB. */
  maxBytes?: number;
  /** Ends the exchange early; what was sent may have had its effect. */
  signal?: AbortSignal;
}

export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  text: string;
}

/** `sent`: the request may have reached the other side, so the effect is unknown; otherwise nothing left this house. */
export class HttpTransportError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly sent: boolean,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export interface GuardedHttpOptions {
  /** `host:port` or `host` entries; anything else is refused before a socket is opened. */
  allow: string[];
  /** How names are resolved, for tests. */
  lookup?: typeof dnsLookup;
}

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'http.not_allowed',
]);

/**
 * The one client for outbound HTTP: host allow-list, connects to the address that was resolved and checked, follows no
 * redirect, caps time and size. A name that resolves to a private address is refused; this machine must be allowed by a
 * loopback name, any other private host by its address.
 */
export class GuardedHttp {
  private readonly allow: Set<string>;
  private readonly agent: Agent;

  constructor(private readonly options: GuardedHttpOptions) {
    this.allow = new Set(options.allow.map((h) => h.toLowerCase()));
    this.agent = new Agent({
      connect: { timeout: 5_000, lookup: this.lookup as never },
      keepAliveTimeout: 4_000,
      connections: 32,
      headersTimeout: 60_000,
    });
  }

  private readonly lookup = (
    hostname: string,
    options: object,
    callback: (error: Error | null, address?: unknown, family?: number) => void,
  ): void => {
    (this.options.lookup ?? dnsLookup)(
      hostname,
      options as never,
      ((error: Error | null, address: unknown, family: number) => {
        if (error) return callback(error);
        const list = Array.isArray(address) ? (address as { address: string }[]).map((a) => a.address) : [String(address)];
        if (!isLoopbackName(hostname) && list.some(isPrivate))
          return callback(new HttpTransportError('http.not_allowed', `${hostname} resolves to a private address`, false));
        callback(null, address, family);
      }) as never,
    );
  };

  async request(r: HttpRequest): Promise<HttpResponse> {
    const url = new URL(r.url);
    const host = url.hostname.toLowerCase();
    if (!['http:', 'https:'].includes(url.protocol) || !(this.allow.has(host) || this.allow.has(url.host.toLowerCase()))) {
      throw new HttpTransportError('http.not_allowed', `outbound calls to ${url.protocol}//${url.host} are not allowed`, false);
    }
    if (url.protocol === 'http:' && !isLoopbackName(host))
      throw new HttpTransportError('http.not_allowed', `plain http to ${host} is not allowed`, false);
    const max = r.maxBytes ?? 4 * 1024 * 1024;
    const timeoutMs = r.timeoutMs ?? 20_000;
    const limit = new AbortController();
    // Cleared with the answer: AbortSignal.timeout would keep each exchange, and wake for it, until its time-out.
    const timer = setTimeout(() => limit.abort(new DOMException(`no answer within ${timeoutMs} ms`, 'TimeoutError')), timeoutMs);
    const signal = r.signal ? AbortSignal.any([limit.signal, r.signal]) : limit.signal;
    try {
      const answer = await undiciRequest(url, { method: r.method, headers: r.headers, body: r.body, dispatcher: this.agent, signal });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > max) throw new HttpTransportError('http.too_large', `the answer of ${url.host} is larger than ${max} bytes`, true);
        chunks.push(chunk);
      }
      const headers: Record<string, string> = {};
      for (const [name, value] of Object.entries(answer.headers))
        if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
      return { status: answer.statusCode, headers, text: Buffer.concat(chunks).toString('utf8') };
    } catch (error) {
      if (error instanceof HttpTransportError) throw error;
      const e = error as { code?: string; name?: string; message?: string; cause?: { code?: string } };
      const code = e.name === 'TimeoutError' ? 'http.timeout' : (e.code ?? e.cause?.code ?? e.name ?? 'http.failed');
      throw new HttpTransportError(
        String(code),
        `${r.method} ${url.host}${url.pathname}: ${e.message ?? code}`,
        !NEVER_SENT.has(String(code)),
        { cause: error },
      );
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }
}

/** Hosts (with port) of a list of URLs, for an allow-list made from configuration. */
export const hostsOf = (urls: (string | undefined)[]): string[] => [
  ...new Set(urls.filter((u): u is string => !!u).map((u) => new URL(u).host.toLowerCase())),
];

export const isLoopbackName = (host: string): boolean =>
  host === 'localhost' || host === '[::1]' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);

/** Addresses that are not the public internet; an IPv4 address inside an IPv6 one is judged as itself. */
const PRIVATE = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  PRIVATE.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [
  ['::', 127],
  ['64:ff9b::', 96],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  PRIVATE.addSubnet(net, bits, 'ipv6');

const isPrivate = (address: string): boolean => PRIVATE.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
