import { createPublicKey, type KeyObject, sign } from 'node:crypto';

// Node reads certificates but does not write them (RFC 5280, DER).
const tlv = (tag: number, ...parts: Buffer[]): Buffer => {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};
const oid = (...bytes: number[]): Buffer => tlv(0x06, Buffer.from(bytes));
const time = (at: Date): Buffer => tlv(0x17, Buffer.from(`${at.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
const name = (text: string): Buffer => tlv(0x30, tlv(0x31, tlv(0x30, oid(0x55, 0x04, 0x03), tlv(0x0c, Buffer.from(text)))));

/** A self-signed certificate as PEM. */
export function certificateOf(privateKey: KeyObject, commonName: string, notBefore: Date, notAfter: Date): string {
  const algorithm = tlv(0x30, oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b), tlv(0x05));
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const dates = tlv(0x30, time(notBefore), time(notAfter));
  const body = tlv(0x30, tlv(0x02, Buffer.from([1])), algorithm, name(commonName), dates, name(commonName), spki);
  const der = tlv(0x30, body, algorithm, tlv(0x03, Buffer.from([0]), sign('sha256', body, privateKey)));
  return `-----BEGIN CERTIFICATE-----\n${der
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')}\n-----END CERTIFICATE-----\n`;
}
