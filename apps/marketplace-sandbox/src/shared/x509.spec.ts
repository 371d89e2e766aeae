import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { selfSignedCertificate } from './x509.js';

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });

describe('a certificate', () => {
  it.each([
    ['0001020304050607', '01020304050607'],
    ['0081020304050607', '81020304050607'],
    ['8101020304050607', '8101020304050607'],
    ['0000000000000000', '0'],
  ])('can be read whatever its random serial %s begins with', (given, read) => {
    const pem = selfSignedCertificate({
      privateKey,
      commonName: 'keys.example',
      serial: Buffer.from(given, 'hex'),
      notBefore: new Date('2026-01-01T00:00:00Z'),
      notAfter: new Date('2027-01-01T00:00:00Z'),
    });
    expect(new X509Certificate(pem).serialNumber.toLowerCase()).toBe(read);
  });
});
