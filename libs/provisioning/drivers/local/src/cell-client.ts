/** Talks to a cell's admin port. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { DriverError } from '#provisioning/core';
import { identityProof } from './files.js';
import type { CellFile, CellIdentity } from './wire.js';

/**
 * Who is behind the cell's admin port: the cell itself, with its pid, or undefined for nobody and for strangers.
 * The nonce is not sent: the port may by now belong to anybody.
 */
export async function identify(cell: CellFile, timeoutMs = 1000): Promise<CellIdentity | undefined> {
  const challenge = randomBytes(16).toString('hex');
  try {
    const response = await fetch(`http://127.0.0.1:${cell.adminPort}/identity?challenge=${challenge}`, {
      signal: AbortSignal.timeout(timeoutMs),
      redirect: 'error',
    });
    const identity = (await response.json()) as CellIdentity;
    if (identity.cellId !== cell.cellId || !Number.isInteger(identity.pid)) return undefined;
    const wanted = Buffer.from(identityProof(cell.nonce, challenge, cell.cellId, identity.pid));
    const given = Buffer.from(String(identity.proof));
    return wanted.length === given.length && timingSafeEqual(wanted, given) ? identity : undefined;
  } catch {
    return undefined;
  }
}

/** A call after `identify`. Throws {@link DriverError}: `unknown` when no answer came. */
export async function callCell<T>(
  cell: CellFile,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
  timeoutMs = 15_000,
): Promise<T> {
  let response: Response;
  let answer: unknown;
  try {
    response = await fetch(`http://127.0.0.1:${cell.adminPort}${path}`, {
      method,
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
      headers: { authorization: `Bearer ${cell.nonce}`, 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    answer = await response.json();
  } catch (error) {
    throw new DriverError('unknown', 'cell.no_answer', `${method} ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (response.ok) return answer as T;
  const code = String((answer as { code?: unknown }).code ?? 'cell.internal');
  const kind =
    response.status === 503 ? 'throttled' : response.status === 409 ? 'conflict' : response.status < 500 ? 'validation' : 'unknown';
  throw new DriverError(kind, code, `The cell answered ${response.status} to ${method} ${path}.`);
}
