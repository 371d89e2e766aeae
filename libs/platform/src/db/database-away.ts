import { QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';
import { ProblemError } from '../problem.js';

/**
 * SQLSTATEs with which a server ends a connection or takes none: class 08 (connection), 57P01 to 57P05 (shut down, crashed,
 * starting, dropped, idle too long), 53300 (too many connections). PostgreSQL manual, appendix A.
 */
const STATES = /^(08\w{3}|57P0[1-5]|53300)$/;
/** What the driver says where no server answered; it gives these no code. */
const WORDS = /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;
const SOCKET = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'];

/**
 * A failure to reach the database, which says nothing of the statement, as `database.unavailable` (503): the same may succeed in
 * a moment. Whether a commit that was under way came about is not known. Every other failure is handed back as it is.
 */
export function orUnavailable(error: unknown): unknown {
  if (!isLost(error)) return error;
  return new ProblemError(
    'unavailable',
    'database.unavailable',
    'The database cannot be reached at the moment. Send it again in a moment.',
    {},
    { cause: error },
  );
}

/** Whether what a transaction failed of is that the database cannot be reached. */
export const isAway = (error: unknown): boolean => error instanceof ProblemError && error.code === 'database.unavailable';

/**
 * SQLSTATEs with which a transaction loses to another one or to a lack: 40 (deadlock, serialization), 53 (no room, no memory), 55 (locks),
 * 57014 (cancelled). Nothing of it is written; the same may succeed in a moment. PostgreSQL manual, appendix A.
 */
const BUSY = /^(40|53|55|57014)/;
/** And those of a server that is not well: 57 (told to stop), 58 (its own system), XX (internal). */
const UNWELL = /^(57|58|XX)/;

const stateOf = (error: unknown): string => {
  const { code } = ((error as { driverError?: unknown } | null)?.driverError ?? error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
};

/** Whether a transaction lost to another one or to a lack that passes: nothing is written, and it may be sent again. */
export const isBusy = (error: unknown): boolean => BUSY.test(stateOf(error));

/** Whether the same transaction may succeed later as it is. False: something in it is wrong, and will be again. */
export const mayPass = (error: unknown): boolean => isAway(error) || isBusy(error) || UNWELL.test(stateOf(error));

function isLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, syscall, driverError, errors } = error as { code?: unknown; syscall?: unknown; driverError?: unknown; errors?: unknown };
  // A Unix socket that is not there; a file that is not there is something else.
  if (code === 'ENOENT') return syscall === 'connect';
  if (driverError instanceof Error && driverError !== error) return isLost(driverError);
  // TypeORM gives a connection back as soon as it is lost; what its transaction asks then meets this.
  if (error instanceof QueryRunnerAlreadyReleasedError || error instanceof QueryRunnerProviderAlreadyReleasedError) return true;
  // A name with several addresses: each refused.
  if (Array.isArray(errors)) return errors.length > 0 && errors.every(isLost);
  return (typeof code === 'string' && (STATES.test(code) || SOCKET.includes(code))) || WORDS.test(error.message);
}
