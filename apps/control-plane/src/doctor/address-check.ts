import { isIP } from 'node:net';
import { isLoopbackName } from '#platform';
import type { Check, Marketplace } from '#marketplaces/core';

/** What is typed into the listing, below our public address. */
export const ADDRESSES: Record<Marketplace, { what: string; path: string }[]> = {
  azure: [
    { what: 'landing page', path: '/landing/azure' },
    { what: 'connection webhook', path: '/webhooks/azure' },
  ],
  gcp: [{ what: 'sign-up and login URL', path: '/landing/gcp' }],
  aws: [
    { what: 'fulfilment URL', path: '/landing/aws' },
    { what: 'API destination', path: '/webhooks/aws/eventbridge' },
  ],
};

/** Where legacy listings are heard over HTTPS (contract aws §4.2). */
export const SNS_ADDRESS = { what: 'SNS subscription', path: '/webhooks/aws/sns' };

/** Names that lead nowhere on the public internet (RFC 2606, 6761, 6762, 8375 and the habit of private networks). */
const PRIVATE_NAME = /\.(local|localhost|internal|intranet|lan|home|corp|private|test|example|invalid|arpa)$/;

/** Buyers and marketplaces must reach us: https, by a public name. In the sandbox all is on this machine. */
export function addressCheck(
  marketplace: Marketplace,
  publicUrl: string | null,
  sandbox: boolean,
  more: { what: string; path: string }[] = [],
): Check {
  const check = `${marketplace}.addresses`;
  const list = (base: string): string => [...ADDRESSES[marketplace], ...more].map(({ what, path }) => `${what} ${base}${path}`).join(', ');
  const remedy = `Set BERTH_PUBLIC_URL to the https address by which buyers and the marketplace reach this control plane, and put into the listing: ${list('https://<public name>')}.`;
  if (sandbox) return { check, result: 'pass', detail: `the sandbox is on this machine; ${list(publicUrl ?? '<listening address>')}` };
  const fault = publicUrl === null ? 'BERTH_PUBLIC_URL is not set: nobody outside can reach the listening address' : faultOf(publicUrl);
  if (fault) return { check, result: 'fail', detail: fault, remedy };
  return { check, result: 'pass', detail: `the listing must name: ${list(publicUrl!)}` };
}

export function faultOf(publicUrl: string): string | null {
  const url = new URL(publicUrl);
  const host = url.hostname.replace(/\.$/, '').toLowerCase();
  if (url.protocol !== 'https:') return `${url.origin} is not https`;
  if (url.username || url.password) return 'the address carries a user name or password';
  if (url.hash || url.search) return `${url.origin} goes on with # or ?, which marketplaces refuse or drop`;
  if (isLoopbackName(host) || isIP(host.replace(/^\[|\]$/g, '')) !== 0) return `${host} is a bare or local address, not a public name`;
  if (!host.includes('.') || PRIVATE_NAME.test(host)) return `${host} is not a public name`;
  return null;
}
