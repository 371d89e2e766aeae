import { isIP } from 'node:net';

/** `10.0.0.0/8, fd00::1`: the addresses whose word on where a request came from (X-Forwarded-For) is believed. */
export const trustedProxiesOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);

export function trustedProxyFaults(text: string | undefined): string[] {
  return trustedProxiesOf(text).every(isAddressOrNet)
    ? []
    : ['BERTH_TRUSTED_PROXIES: each must be an IP address or a network such as 10.0.0.0/8 (who trusts everybody believes every sender)'];
}

function isAddressOrNet(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const version = isIP(address);
  if (version === 0 || more.length > 0) return false;
  if (bits === undefined) return true;
  return /^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= (version === 4 ? 32 : 128);
}
