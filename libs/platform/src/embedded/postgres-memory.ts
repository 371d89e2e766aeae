import { totalmem } from 'node:os';

const MIB = 1024 ** 2;

/** What a server reads and writes through, and how much log it keeps between two checkpoints. */
export interface ServerRoom {
  readonly shared_buffers: string;
  readonly max_wal_size: string;
}

/** For tests: many short databases, each of which a larger cache would have to be searched for when it goes. */
export const SMALL: ServerRoom = { shared_buffers: '128MB', max_wal_size: '1GB' };

/**
 * An eighth of the machine's memory, from 128 MB to 2 GB: the indexes of the ledger are written all over, and where they do not fit
 * each entry costs a page that is read and one that is thrown out. Memory is taken as it is used. A page is written whole into the
 * log when it first changes after a checkpoint, so checkpoints by size are rare: 4 GB apart.
 */
export function roomOf(memoryBytes: number): ServerRoom {
  const megabytes = Math.min(2_048, Math.max(128, Math.floor(memoryBytes / 8 / MIB)));
  return { shared_buffers: `${megabytes}MB`, max_wal_size: megabytes > 128 ? '4GB' : '1GB' };
}

/** Of this machine, or of the container's limit where that is less. */
export function usableMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
