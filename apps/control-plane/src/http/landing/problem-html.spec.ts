import { describe, expect, it } from 'vitest';
import { ProblemError } from '#platform';
import { problemPage, wantsPage } from './problem-html.js';

const HTML = 'text/html,application/xhtml+xml,*/*;q=0.8';

describe('a problem at a landing address', () => {
  it.each([
    ['/landing/gcp', HTML, true],
    ['/landing/azure?token=x', HTML, true],
    ['/landing', HTML, true],
    ['/landing/api/sessions/x', HTML, false],
    ['/landing/gcp', '*/*', false],
    ['/landing/gcp', undefined, false],
    ['/landings', HTML, false],
    ['/api/v1/tenants?next=/landing/gcp', HTML, false],
  ])('%s asked with "%s" is a page: %s', (url, accept, page) => {
    expect(wantsPage(url, accept)).toBe(page);
  });

  it('is told in words, with code and reference, and runs nothing that came from outside', () => {
    const text = problemPage(new ProblemError('not_found', 'landing.not_configured', 'Not <script>here</script>.'), 'urn:request:abc');
    expect(text).toContain('There is no page at this address');
    expect(text).toContain('landing.not_configured, urn:request:abc');
    expect(text).toContain('Not &lt;script&gt;here&lt;/script&gt;.');
    expect(text).not.toContain('<script');
  });
});
