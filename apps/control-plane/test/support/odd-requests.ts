// Requests that no careful client sends, made from the API's own description: each described parameter and each field of each described
// body in turn holds something odd, while the rest is plausible. A route that is added is asked too.

/** What a description (OpenAPI 3) says of a value, as far as it is read here. */
interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  minimum?: number;
  properties?: Record<string, Schema>;
  items?: Schema;
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
}
interface Parameter {
  $ref?: string;
  name: string;
  in: string;
  required?: boolean;
  schema?: Schema;
}
interface Operation {
  parameters?: Parameter[];
  requestBody?: { content?: Record<string, { schema?: Schema }> };
}
export interface Description {
  paths: Record<string, Record<string, Operation>>;
}
export interface OddRequest {
  method: string;
  path: string;
  body?: unknown;
}

/** Text that Postgres, JSON, a URL, a calendar or a number reads otherwise than a person. */
const TEXTS = [
  '\u0000',
  '\ud83d!',
  '',
  'x'.repeat(5_000),
  '😀'.repeat(90),
  'infinity',
  '-1',
  '9999999999999999999999',
  '2026-02-30T00:00:00Z',
  '99999-01-01T00:00:00Z',
  '0001-01-01T00:00:00Z',
  '2026-00',
  "'; select 1 --",
  '%',
  '{}',
];
const OTHERS = [null, [], {}, [null], 1e308, -1, 0.5, true];
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** All of them; `idOf` answers an id that exists for the part of a path before `{id}`, or null. */
export function* oddRequests(description: Description, idOf: (pathBefore: string) => string | null): Generator<OddRequest> {
  const resolve = <T extends { $ref?: string }>(of: T): T =>
    of.$ref === undefined
      ? of
      : (of.$ref
          .split('/')
          .slice(1)
          .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], description) as T);
  const plausible = (given: Schema | undefined, depth = 0): unknown => {
    const schema = given && resolve(given);
    if (!schema || depth > 6) return 'abc';
    const one = schema.oneOf?.[0] ?? schema.anyOf?.[0];
    if (one) return plausible(one, depth + 1);
    if (schema.allOf) return Object.assign({}, ...schema.allOf.map((s) => plausible(s, depth + 1))) as unknown;
    if (schema.enum) return schema.enum[0];
    const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
    if (type === 'object' || schema.properties)
      return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([k, s]) => [k, plausible(s, depth + 1)]));
    if (type === 'array') return [plausible(schema.items, depth + 1)];
    if (type === 'integer' || type === 'number') return schema.minimum ?? 1;
    if (type === 'boolean') return true;
    if (schema.format === 'uuid') return '00000000-0000-4000-8000-000000000000';
    if (schema.format === 'date-time') return '2026-03-01T00:00:00Z';
    return schema.format === 'date' ? '2026-03-01' : 'abc';
  };

  for (const [path, operations] of Object.entries(description.paths))
    for (const [method, operation] of Object.entries(operations)) {
      if (!METHODS.includes(method)) continue;
      const parameters = (operation.parameters ?? []).map(resolve);
      const schema = operation.requestBody?.content?.['application/json']?.schema;
      const body = schema && plausible(schema);
      /** With `odd` as the parameter `name`. */
      const address = (name?: string, odd = ''): string => {
        const filled = path.replace(/\{(\w+)\}/g, (_, key: string, at: number) =>
          key === name ? escaped(odd || 'x') : (idOf(path.slice(0, at)) ?? escaped(String(plausible(find(key)?.schema)))),
        );
        const query = parameters
          .filter((q) => q.in === 'query' && (q.required || q.name === name))
          .map((q) => `${q.name}=${escaped(q.name === name ? odd : String(plausible(q.schema)))}`);
        return query.length > 0 ? `${filled}?${query.join('&')}` : filled;
      };
      const find = (key: string): Parameter | undefined => parameters.find((q) => q.name === key);
      for (const { name, in: where } of parameters)
        if (where === 'path' || where === 'query') for (const odd of TEXTS) yield { method, path: address(name, odd), body };
      if (body === undefined) continue;
      for (const odd of OTHERS) yield { method, path: address(), body: odd };
      for (const spoilt of spoiltCopies(body)) yield { method, path: address(), body: spoilt };
    }
}

/** Copies of a value, in each of which one field, at whatever depth, is odd or missing. */
function* spoiltCopies(value: unknown): Generator<unknown> {
  if (value === null || typeof value !== 'object') return;
  for (const key of Object.keys(value)) {
    const put = (inner: unknown): unknown => {
      const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>;
      if (inner === undefined) delete copy[key];
      else copy[key] = inner;
      return copy;
    };
    for (const odd of [undefined, ...OTHERS, ...TEXTS]) yield put(odd);
    for (const inner of spoiltCopies((value as Record<string, unknown>)[key])) yield put(inner);
  }
}

/** A URL's bytes; half a character as the bytes that a careless encoder would send. */
const escaped = (text: string): string => (/\p{Cs}/u.test(text) ? '%ED%A0%BD' : encodeURIComponent(text));
