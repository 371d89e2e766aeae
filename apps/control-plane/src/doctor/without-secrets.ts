import type { BerthConfig } from '#platform';

const SECRET_NAME = /SECRET|PASSWORD|TOKEN|CREDENTIAL|_KEY$|DATABASE_URL|REDIS_URL/;
const SHORTEST = 6;
/** A day is no secret, and blanking it would blank the finding. */
const NO_SECRET = /_EXPIRES$/;

/** Errors of foreign clients quote what they were given. No value of a secret setting and nothing shaped like a token leaves. */
export function withoutSecrets(text: string, env: Record<string, string | undefined>, config: BerthConfig | null): string {
  const values = [
    ...Object.entries(env).flatMap(([name, value]) => (SECRET_NAME.test(name) && !NO_SECRET.test(name) && value ? [value] : [])),
    config?.azure?.clientSecret ?? '',
    config?.azure?.signIn?.clientSecret ?? '',
    config?.aws?.webhookSecret ?? '',
    config?.aws?.credentials?.secretAccessKey ?? '',
  ].filter((value) => value.length >= SHORTEST);
  let clean = text;
  // The longest first: one value may be a part of another.
  for (const value of values.toSorted((a, b) => b.length - a.length))
    for (const form of new Set([value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)]))
      clean = clean.replaceAll(form, '[secret]');
  return clean.replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, '[token]').replace(/\bBearer +[^\s"',;]+/gi, 'Bearer [token]');
}
