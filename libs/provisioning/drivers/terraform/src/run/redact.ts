/** Takes secrets out of what a program says, before anybody keeps it. */

/** A shorter value would blacken ordinary words, and is no secret. */
const SHORTEST = 6;
const MARK = '[redacted]';

export type Redact = (text: string) => string;

/** `secrets`: as they are; what a program may make of them (base64, JSON, URL) is known too. */
export function redactor(secrets: readonly string[]): Redact {
  const forms = new Set<string>();
  for (const secret of secrets.filter((s) => s.length >= SHORTEST)) {
    for (const form of [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]) forms.add(form);
    forms.add(Buffer.from(secret).toString('base64'));
    forms.add(Buffer.from(secret).toString('base64').replace(/=+$/, ''));
  }
  // The longest first: a part that goes first would leave the rest standing.
  const all = [...forms].sort((a, b) => b.length - a.length);
  return (text) => all.reduce((rest, form) => rest.replaceAll(form, MARK), text);
}
