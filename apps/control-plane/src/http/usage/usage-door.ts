import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { UsagePrincipal } from '#metering';
import { ProblemError } from '#platform';
import type { KeyChecks, Principal } from '#tenancy';
import { keyIn, presentedKey, type AuthenticatedRequest } from '../support/auth.guard.js';

/** Unpacked. */
export const MAX_USAGE_BYTES = 5 * 1024 * 1024;

/** Whose keys may post. */
export const POSTERS = ['cell', 'operator'] as const;

/** Who posts, as metering knows it. A cell speaks for the source /cells/<cluster name>; its key carries that name. */
export const posterOf = ({ kind, keyId, name }: Principal): UsagePrincipal =>
  kind === 'cell' ? { kind, keyId, clusterId: name } : { kind, keyId };

export const isUsagePost = (request: FastifyRequest): boolean =>
  request.method === 'POST' &&
  request.url.startsWith(PATH) &&
  (request.url.length === PATH.length || /[/?]/.test(request.url[PATH.length]!));
export const PATH = '/api/v1/usage-events';

/**
 * How old what we know of a key may be: it is not read for each of many requests a second. A key that another process revokes
 * can post for so long; one that this process revokes cannot.
 */
const KEY_AGE_MS = 1_000;

/** Bytes of bodies in work at the same time, of all and of one key. What a body becomes in memory is some times more. */
const ROOM = { all: 64 * 1024 * 1024, each: 32 * 1024 * 1024 };

/** Stands before the usage intake: proves the key and keeps room for the body before a byte of it is read. */
export class UsageDoor {
  private taken = 0;
  private readonly byKey = new Map<string, number>();

  constructor(
    private readonly keys: Pick<KeyChecks, 'check' | 'known'>,
    private readonly room = ROOM,
  ) {}

  guard(fastify: FastifyInstance): void {
    fastify.addHook('onRequest', (request, reply, done) => {
      if (!isUsagePost(request)) return done();
      this.enter(request, reply).then(
        () => done(),
        (error: Error) => done(error),
      );
    });
  }

  /** Throws `auth.key_invalid` (401), `request.too_many_waiting` (429) or `request.overloaded` (503). */
  private async enter(request: AuthenticatedRequest, reply: FastifyReply): Promise<void> {
    const principal = await this.keys.check(presentedKey(request), KEY_AGE_MS);
    request.principal = principal;
    // Gone while its key was proved: nobody would give the room back.
    if (reply.raw.destroyed) throw new ProblemError('unavailable', 'request.aborted', 'The connection is gone.');
    // Of a body without a length, or a packed one, nobody knows how large it becomes.
    const stated = request.headers['content-encoding'] === undefined ? Number(request.headers['content-length'] ?? NaN) : NaN;
    const bytes = stated >= 0 && stated <= MAX_USAGE_BYTES ? stated : MAX_USAGE_BYTES;
    const full = this.take(principal.keyId, bytes, reply.raw);
    if (full) throw full;
  }

  /**
   * Who posts, where that needs no wait: the key was proved a moment ago, may post, and there is room for a body of so many bytes,
   * which is taken. Else undefined, and nothing was done.
   */
  admit(authorization: string | undefined, bytes: number, response: ServerResponse): Principal | undefined {
    const principal = this.keys.known(keyIn(authorization), KEY_AGE_MS);
    if (!principal || !POSTERS.some((kind) => kind === principal.kind)) return undefined;
    return this.take(principal.keyId, bytes, response) ? undefined : principal;
  }

  /** Keeps room until the response is over; answers why there is none. */
  private take(keyId: string, bytes: number, response: ServerResponse): ProblemError | undefined {
    const mine = this.byKey.get(keyId) ?? 0;
    if (mine + bytes > this.room.each)
      return new ProblemError(
        'too_many',
        'request.too_many_waiting',
        'Too much that this key has sent is in work. Send it again in a moment.',
      );
    if (this.taken + bytes > this.room.all)
      return new ProblemError('unavailable', 'request.overloaded', 'Too much comes in at once. Send it again in a moment.');
    this.taken += bytes;
    this.byKey.set(keyId, mine + bytes);
    // Once, however the request ends: answered, refused, or broken off by the client.
    response.once('close', () => this.leave(keyId, bytes));
    return undefined;
  }

  private leave(keyId: string, bytes: number): void {
    this.taken -= bytes;
    const left = this.byKey.get(keyId)! - bytes;
    if (left > 0) this.byKey.set(keyId, left);
    else this.byKey.delete(keyId);
  }
}
