import { invalid } from './errors.js';

/** Values of an entitlement by filter attribute (contract gcp §2, Filter). */
export type Attributes = Record<string, string | undefined>;
export type Predicate = (attributes: Attributes) => boolean;

const KNOWN = new Set([
  'account',
  'customer_billing_account',
  'product_external_name',
  'quote_external_name',
  'offer',
  'new_pending_offer',
  'plan',
  'new_pending_plan',
  'state',
  'services',
  'consumers.project',
  'change_history.new_offer',
]);
const TOKEN = /\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z0-9_.]+)|([=:()-])|(.))/gy;

type Token = { kind: 'quoted' | 'word' | 'sign'; text: string };

function tokens(text: string): Token[] {
  const found: Token[] = [];
  for (const [, quoted, word, sign, other] of text.trimEnd().matchAll(TOKEN)) {
    if (other !== undefined)
      throw invalid(
        `Invalid filter: unexpected '${other}'. Values with other characters than letters, digits and _ must be double-quoted.`,
      );
    if (quoted !== undefined) found.push({ kind: 'quoted', text: quoted.slice(1, -1).replace(/\\(.)/g, '$1') });
    else if (word !== undefined) found.push({ kind: 'word', text: word });
    else if (sign !== undefined) found.push({ kind: 'sign', text: sign });
  }
  return found;
}

/** AND may be left out; OR binds tighter than AND, as in Google's other filters. */
export function parseFilter(text: string | undefined): Predicate {
  if (!text?.trim()) return () => true;
  const list = tokens(text);
  let at = 0;
  const is = (kind: Token['kind'], value: string): boolean => list[at]?.kind === kind && list[at]?.text === value;

  function sequence(): Predicate {
    const parts = [alternatives()];
    while (at < list.length && !is('sign', ')')) {
      if (is('word', 'AND')) at += 1;
      parts.push(alternatives());
    }
    return (attributes) => parts.every((part) => part(attributes));
  }

  function alternatives(): Predicate {
    const parts = [factor()];
    while (is('word', 'OR')) {
      at += 1;
      parts.push(factor());
    }
    return (attributes) => parts.some((part) => part(attributes));
  }

  function factor(): Predicate {
    if (is('word', 'NOT') || is('sign', '-')) {
      at += 1;
      const inner = factor();
      return (attributes) => !inner(attributes);
    }
    if (is('sign', '(')) {
      at += 1;
      const inner = sequence();
      if (!is('sign', ')')) throw invalid('Invalid filter: a parenthesis is not closed.');
      at += 1;
      return inner;
    }
    return comparison();
  }

  function comparison(): Predicate {
    const attribute = list[at++];
    const sign = list[at++];
    const value = list[at++];
    if (attribute?.kind !== 'word' || !KNOWN.has(attribute.text))
      throw invalid(`Invalid filter: unknown attribute '${attribute?.text ?? ''}'.`);
    const wanted = attribute.text === 'consumers.project' ? ':' : '=';
    if (sign?.kind !== 'sign' || sign.text !== wanted) throw invalid(`Invalid filter: '${attribute.text}' is compared with '${wanted}'.`);
    if (!value || value.kind === 'sign' || (value.kind === 'word' && !/^\w+$/.test(value.text)))
      throw invalid(`Invalid filter: the value of '${attribute.text}' must be double-quoted.`);
    return compare(attribute.text, value.text);
  }

  const result = sequence();
  if (at < list.length) throw invalid(`Invalid filter: unexpected '${list[at]?.text ?? ''}'.`);
  return result;
}

function compare(attribute: string, value: string): Predicate {
  if (attribute === 'state') {
    const state = value.toUpperCase().replace(/^ENTITLEMENT_/, '');
    return (attributes) => attributes['state'] === `ENTITLEMENT_${state}`;
  }
  // An account may be named in any of its three shapes.
  const wanted = attribute === 'account' ? (value.split('/').at(-1) ?? '') : value;
  return (attributes) => (attributes[attribute] ?? '') === wanted;
}
