import { ExactNumber } from '../shared/exact-json.js';
import { AwsError } from './errors.js';

const MAX_QUANTITY = 2_147_483_647;

/** A whole int32, with the digits that were sent; absent means 0. */
export function readQuantity(value: unknown, member: string): string {
  if (value === undefined || value === null) return '0';
  if (!(value instanceof ExactNumber) || !/^-?\d+$/.test(value.text)) throw serialization(`${member} can not be converted to an Integer`);
  if (value.value < 0) throw validation(member, 'Member must have value greater than or equal to 0');
  if (value.value > MAX_QUANTITY) throw validation(member, `Member must have value less than or equal to ${MAX_QUANTITY}`);
  return value.text === '-0' ? '0' : value.text;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);
}

export function validation(member: string, constraint: string): AwsError {
  return new AwsError(
    'ValidationException',
    `1 validation error detected: Value at '${member}' failed to satisfy constraint: ${constraint}`,
  );
}

export function serialization(message: string): AwsError {
  return new AwsError('SerializationException', message);
}
