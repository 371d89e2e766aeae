import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { keyOfCertificate, keyOfJwk, verifySignedToken } from './signed-token.js';

const ours = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const seconds = (): number => Math.floor(Date.now() / 1000);
const token = (claims: unknown, header: Record<string, unknown> = {}, key: KeyObject = ours.privateKey): string => {
  const text = `${part({ alg: 'RS256', kid: 'k1', ...header })}.${part(claims)}`;
  return `${text}.${sign('RSA-SHA256', Buffer.from(text), key).toString('base64url')}`;
};
const good = (change: Record<string, unknown> = {}): Record<string, unknown> => ({ iss: 'i', exp: seconds() + 60, ...change });
const find = (id: string): Promise<KeyObject | null> => Promise.resolve(id === 'k1' ? ours.publicKey : null);
const verify = (text: string) => verifySignedToken(text, find, { skewSeconds: 30, required: ['exp', 'iss'] });

describe('a token of a marketplace', () => {
  it('is believed inside its life, the skew included', async () => {
    expect(await verify(token(good()))).toMatchObject({ ok: true, claims: { iss: 'i' } });
    expect(await verify(token(good({ exp: seconds() - 20, nbf: seconds() + 20 })))).toMatchObject({ ok: true });
  });

  it.each<[string, string, () => string]>([
    ['no_jwt', 'a word', () => 'x'],
    ['no_jwt', 'two parts', () => token(good()).split('.').slice(0, 2).join('.')],
    ['no_jwt', 'a header that is a list', () => `${part([])}.${part({})}.x`],
    ['algorithm', 'no signature', () => `${part({ alg: 'none', kid: 'k1' })}.${part(good())}.`],
    ['algorithm', 'another RSA algorithm', () => token(good(), { alg: 'RS512' })],
    [
      'algorithm',
      'HS256 with our public key as the secret',
      () => {
        const text = `${part({ alg: 'HS256', kid: 'k1' })}.${part(good())}`;
        const secret = ours.publicKey.export({ type: 'spki', format: 'pem' });
        return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
      },
    ],
    ['unknown_key', 'a key id of nobody', () => token(good(), { kid: 'k2' })],
    ['unknown_key', 'a key id that is no text', () => token(good(), { kid: 7 })],
    ['invalid', 'an extension that must be understood', () => token(good(), { crit: ['b64'], b64: false })],
    ['signature', "a stranger's signature", () => token(good(), {}, stranger.privateKey)],
    ['signature', "another token's signature", () => `${part({ alg: 'RS256', kid: 'k1' })}.${part(good())}.${token({}).split('.')[2]!}`],
    ['expired', 'an end that is past', () => token(good({ exp: seconds() - 31 }))],
    ['invalid', 'an end that is no number', () => token(good({ exp: 'never' }))],
    ['invalid', 'a beginning that is to come', () => token(good({ nbf: seconds() + 40 }))],
    ['invalid', 'a claim that is missing', () => token({ exp: seconds() + 60 })],
    ['invalid', 'claims that are a list', () => token([1])],
  ])('is not believed (%s) with %s', async (fault, _, made) => {
    expect(await verify(made())).toEqual({ ok: false, fault });
  });

  it('of a wrong algorithm, or with a key id of any length, leads to no question for keys', async () => {
    const asked = vi.fn(find);
    for (const bad of [{ alg: 'RS384' }, { kid: '' }, { kid: 'k'.repeat(201) }])
      await verifySignedToken(token(good(), bad), asked, { skewSeconds: 0, required: [] });
    expect(asked).not.toHaveBeenCalled();
  });

  it('waits for the keys: what the key list throws is told to the sender', async () => {
    const down = (): Promise<never> => Promise.reject(new Error('no keys just now'));
    await expect(verifySignedToken(token(good()), down, { skewSeconds: 0, required: [] })).rejects.toThrow('no keys just now');
  });
});

describe('a key', () => {
  it('of a list is taken where it may sign, and no other', () => {
    const jwk = ours.publicKey.export({ format: 'jwk' });
    expect(keyOfJwk({ ...jwk })?.equals(ours.publicKey)).toBe(true);
    expect(keyOfJwk({ ...jwk, use: 'enc' })).toBeNull();
    expect(keyOfJwk({ kty: 'oct', k: 'c2VjcmV0' })).toBeNull();
    expect(keyOfJwk({ kty: 'RSA', n: 7 })).toBeNull();
    expect(keyOfJwk({ ...ours.privateKey.export({ format: 'jwk' }) })?.type).toBe('public');
  });

  it('of something that is no certificate is none', () => {
    expect(keyOfCertificate('no')).toBeNull();
  });
});
