import type { ProblemError } from '#platform';
import { safe } from '../support/html.js';

const CSS = `:root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;margin:0 auto;max-width:40rem;padding:2rem 1rem}
h1{font-size:1.4rem}h2{font-size:1rem;margin-bottom:0}p{margin-top:.3rem}small{opacity:.75;overflow-wrap:anywhere}`;

/** A person's browser at a landing address: it gets words, where a program gets the problem document. */
export function wantsPage(url: string, accept: string | undefined): boolean {
  const path = url.split('?')[0]!;
  return /^\/landing(\/|$)/.test(path) && !path.startsWith('/landing/api/') && (accept ?? '').includes('text/html');
}

function titleOf(problem: ProblemError): string {
  if (problem.status >= 500) return 'This page cannot be shown right now';
  if (problem.status === 404) return 'There is no page at this address';
  return 'This link cannot be read';
}

/** No script and no file of the portal: it also has to work when those are what is missing. */
export function problemPage(problem: ProblemError, instance: string): string {
  const remedy =
    problem.status >= 500
      ? 'Wait a few minutes and open the page again from the marketplace where you bought.'
      : 'Open the page again from the marketplace where you bought: go to your subscription or order there and press the button that sets up or manages your account.';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${safe(titleOf(problem))} — Berth</title>
<style>${CSS}</style>
</head>
<body>
<main>
<h1>${safe(titleOf(problem))}</h1>
<p>${safe(problem.detail)}</p>
<h2>What to do</h2>
<p>${safe(remedy)} Your purchase is not affected, and doing this buys nothing again.</p>
<p><small>If you write to support, give this code and reference: ${safe(problem.code)}, ${safe(instance)}</small></p>
</main>
</body>
</html>
`;
}
