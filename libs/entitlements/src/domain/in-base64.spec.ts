import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inBase64 } from './in-base64.js';

describe('a text inside Base64', () => {
  it('is found wherever it stands, whatever is around it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8, unit: 'grapheme' }), fc.string(), fc.string(), (text, before, after) => {
        const hidden = Buffer.from(before + text + after).toString('base64');
        expect(inBase64(text).some((form) => hidden.includes(form))).toBe(true);
      }),
    );
  });

  it('is not found where it does not stand', () => {
    const id = 'eda2a6ce-2e2d-44ff-985f-37e6c51af7d1';
    const other = Buffer.from(`{"account":{"id":"${id.replace('7d1', '7d2')}"}}`).toString('base64');
    expect(inBase64(id).some((form) => other.includes(form))).toBe(false);
    expect(inBase64(id).every((form) => form.length > 40)).toBe(true);
  });
});
