/** The variables as they were given, before any default. */
export type Given = Record<string, string | undefined>;

/** `a, b` as texts; empty parts count for nothing. */
export const listOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);

/** `a=1, b = 2` as pairs of texts; a part without `=` has an empty name, which no setting takes. */
export const pairsOf = (text: string | undefined): [string, string][] =>
  listOf(text).map((one) => {
    const cut = one.indexOf('=');
    return cut < 0 ? ['', one] : [one.slice(0, cut).trim(), one.slice(cut + 1).trim()];
  });
