/** `a=1, b = 2` as pairs of texts; a part without `=` has an empty name, which no setting takes. */
export const pairsOf = (text: string | undefined): [string, string][] =>
  (text ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean)
    .map((one) => {
      const cut = one.indexOf('=');
      return cut < 0 ? ['', one] : [one.slice(0, cut).trim(), one.slice(cut + 1).trim()];
    });
