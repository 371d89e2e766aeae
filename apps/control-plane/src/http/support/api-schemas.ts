import { applyDecorators } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import { z } from 'zod';
import { PROBLEM_STATUS } from '#platform';

/** Schemas with a name in the API description. Defined once, in zod; the types, the description and its generated client follow. */
const named = z.registry<{ id: string; description?: string }>();

export function apiSchema<T extends z.ZodType>(id: string, schema: T, description?: string): T {
  named.add(schema, { id, ...(description ? { description } : {}) });
  return schema;
}

type SchemaObject = Record<string, unknown>;
const pathOf = (id: string): string => `#/components/schemas/${id}`;

/** `components.schemas` of the API description. */
export function namedSchemas(): Record<string, SchemaObject> {
  // "input": no promise that there will never be another field.
  const { schemas } = z.toJSONSchema(named, { target: 'openapi-3.0', io: 'input', uri: pathOf });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $id: _address, ...schema }]): [string, SchemaObject] => [id, schema as SchemaObject]),
  );
}

export function schemaRef(schema: z.ZodType): { $ref: string } {
  const id = named.get(schema)?.id;
  if (!id) throw new Error('a schema that the API description refers to has no name: give it one with apiSchema()');
  return { $ref: pathOf(id) };
}

export const fieldError = apiSchema('FieldError', z.object({ field: z.string(), message: z.string() }));

export const problemDocument = apiSchema(
  'Problem',
  z.object({
    type: z.string(),
    title: z.string(),
    status: z.int32(),
    code: z.string().describe('Stable and dotted; clients may branch on it.'),
    detail: z.string().describe('For a person.'),
    instance: z.string().optional().describe('Names this very occurrence to support.'),
    errors: z.array(fieldError).optional().describe('What is wrong at which field.'),
  }),
  'A problem document (RFC 9457).',
);

export const Answers = (status: number, schema: z.ZodType, description: string): MethodDecorator =>
  ApiResponse({ status, description, schema: schemaRef(schema) });

type Refusal = readonly [kind: keyof typeof PROBLEM_STATUS, description: string];

/** The refusals that a client of this route has to know. */
export const Refuses = (...refusals: readonly Refusal[]): MethodDecorator =>
  applyDecorators(
    ...refusals.map(([kind, description]) =>
      ApiResponse({
        status: PROBLEM_STATUS[kind],
        description,
        content: { 'application/problem+json': { schema: schemaRef(problemDocument) } },
      }),
    ),
  );
