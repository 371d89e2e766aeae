import { z } from 'zod';
import { ProblemError } from '#platform';

/** Parses input or throws `request.invalid` with every fault named. Unknown fields of strict schemas are faults too. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, code = 'request.invalid'): T {
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  throw new ProblemError('validation', code, 'The request is not valid.', {
    errors: result.error.issues.map((i) => ({ field: i.path.join('.') || '(body)', message: i.message })),
  });
}

export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().max(400).optional(),
});

const encode = (value: string): string => Buffer.from(value, 'utf8').toString('base64url');

/** `limit` and the opaque `cursor` of a list request. */
export function readPage(query: unknown): { limit: number; after: string | null } {
  const q = parse(pageQuery.loose(), query);
  if (!q.cursor) return { limit: q.limit, after: null };
  const after = Buffer.from(q.cursor, 'base64url').toString('utf8');
  if (!after || encode(after) !== q.cursor || /[^\x20-\x7e]/.test(after))
    throw new ProblemError(
      'validation',
      'request.cursor_invalid',
      'This cursor was not issued by this API. Leave it out to start at the beginning.',
    );
  return { limit: q.limit, after };
}

export const pageOf = <R, T>(
  page: { items: R[]; nextCursor: string | null },
  map: (row: R) => T,
): { items: T[]; nextCursor: string | null } => ({
  items: page.items.map(map),
  nextCursor: page.nextCursor === null ? null : encode(page.nextCursor),
});

/** The same for a list that makes and checks its own cursors. */
export function readForeignPage(query: unknown): { limit: number; after: string | null } {
  const q = parse(pageQuery.loose(), query);
  return { limit: q.limit, after: q.cursor ?? null };
}
