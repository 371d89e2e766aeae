/** SQL of an instant as whole microseconds since 1970, as text: exact, and what `BigInt` reads. */
export const us = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint::text`;
