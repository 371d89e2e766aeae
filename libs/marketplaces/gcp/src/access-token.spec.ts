import { describe, expect, it } from 'vitest';
import { MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { checkedToken } from './access-token.js';

/** As the credential library throws: the answer of the token endpoint stands in `response`. */
const answered = (status: number, error: string): Error =>
  Object.assign(new Error(error), { response: { status, data: { error } }, status, code: String(status) });
const failing = (error: unknown) => checkedToken(() => Promise.reject(error as Error))();

describe('a token of Google', () => {
  it('is given on', async () => {
    expect(await checkedToken(async () => 'ya29.x')()).toBe('ya29.x');
  });

  it('that is refused for good says so, that a person mends the credentials [GC-62]', async () => {
    for (const error of [
      answered(400, 'invalid_grant: Invalid JWT Signature.'),
      answered(401, 'invalid_client'),
      answered(403, 'the service account is disabled'),
      answered(404, 'no service account is attached'),
      new Error('Could not load the default credentials. Browse to the documentation for more information.'),
      new Error('The file at /etc/keys/g.json does not exist, or it is not a file.'),
    ]) {
      const refusal = await failing(error).catch((e: unknown) => e);
      expect(refusal, error.message).toBeInstanceOf(MarketplaceRefusal);
      expect(refusal).toMatchObject({ code: 'gcp.no_token', httpStatus: 401 });
    }
  });

  it('that does not come just now is asked for again [GC-62]', async () => {
    const errors = [
      answered(500, 'internal'),
      answered(503, 'unavailable'),
      answered(429, 'slow down'),
      answered(408, 'late'),
      new Error('connect ECONNREFUSED'),
    ];
    for (const error of [...errors, Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }), 'odd'])
      await expect(failing(error), String(error)).rejects.toBeInstanceOf(MarketplaceBusy);
    await expect(checkedToken(async () => null)()).rejects.toBeInstanceOf(MarketplaceBusy);
  });

  it('is not waited for without end [GC-62]', async () => {
    await expect(checkedToken(() => new Promise(() => undefined), 20)()).rejects.toThrow(/no answer within/);
    await expect(checkedToken(() => new Promise(() => undefined), 20)()).rejects.toBeInstanceOf(MarketplaceBusy);
  });
});
