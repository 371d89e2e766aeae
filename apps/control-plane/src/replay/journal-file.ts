import { once } from 'node:events';
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { PassThrough, type Duplex, type Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { ProblemError } from '#platform';

const packed = (file: string): boolean => file.endsWith('.gz');

/** Writes lines to a file that only we may read; it has its name when it is whole. Throws `journal.file_exists`. */
export async function writeLines(file: string, work: (put: (line: string) => Promise<void>) => Promise<void>): Promise<void> {
  if (existsSync(file))
    throw new ProblemError('conflict', 'journal.file_exists', `${file} is there already. Name another file, or remove it.`);
  const part = `${file}.part`;
  const into: Duplex = packed(file) ? createGzip() : new PassThrough();
  const written = pipeline(into, createWriteStream(part, { mode: 0o600 }));
  // Whoever fails first is told; the other follows from it.
  written.catch(() => undefined);
  try {
    await work(async (line) => {
      // A stream that broke would never drain: its error is thrown.
      if (!into.write(`${line}\n`)) await Promise.race([once(into, 'drain'), written]);
    });
    into.end();
    await written;
    renameSync(part, file);
  } catch (error) {
    into.destroy();
    await written.catch(() => undefined);
    rmSync(part, { force: true });
    throw error;
  }
}

/** The lines of a file, unpacked where its name ends in .gz. Throws `journal.cut` for a packed file that was cut. */
export async function* readLines(file: string): AsyncGenerator<string> {
  const source = createReadStream(file);
  const input: Readable = packed(file) ? source.pipe(createGunzip()) : source;
  if (input !== source) source.on('error', (error) => input.destroy(error));
  const ended = finished(input).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    yield* createInterface({ input, crlfDelay: Infinity });
    const error = await ended;
    if (error !== undefined) throw error;
  } catch (error) {
    throw refused(file, error as Error & { code?: string });
  }
}

function refused(file: string, error: Error & { code?: string }): Error {
  if (error.code === 'ENOENT') return new ProblemError('not_found', 'journal.not_found', `There is no file ${file}.`);
  if (error.code === 'Z_BUF_ERROR')
    return new ProblemError('validation', 'journal.cut', `${file} ends too early: it was cut. Write it again.`);
  if (error.code?.startsWith('Z_'))
    return new ProblemError('validation', 'journal.changed', `${file} cannot be unpacked (${error.message}). Write it again.`);
  return error;
}
