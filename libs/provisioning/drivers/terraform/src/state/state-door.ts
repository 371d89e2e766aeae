/**
 * Terraform's http backend (contract provisioning §4.4), without the web framework: the app's controller hands each request in.
 * Basic auth is the credential of one run; what it may do is decided where the state is written.
 */
import { createHash } from 'node:crypto';
import { StateRefused, type Presented, type StateWire, type WireRefusal } from './ports.js';

/** A state this large is a mistake of a module; the limit keeps one cluster from filling the database. */
export const MAX_STATE_BYTES = 4 * 1024 * 1024;

export interface StateRequest {
  readonly method: string;
  readonly clusterRef: string;
  readonly lockId: string | null;
  readonly authorization: string | undefined;
  readonly contentMd5: string | undefined;
  readonly body: Buffer;
}

export interface StateAnswer {
  readonly status: number;
  readonly body: string;
}

/** 403 rather than 423 for who is no longer the writer: it shall stop, not wait for the lock. */
const STATUS: Record<WireRefusal, number> = {
  unauthenticated: 401,
  not_writer: 403,
  locked: 423,
  not_locked: 409,
  stale_serial: 409,
  other_lineage: 409,
  bad_state: 400,
};

export class StateDoor {
  constructor(
    private readonly wire: StateWire,
    private readonly maxBytes = MAX_STATE_BYTES,
  ) {}

  async handle(request: StateRequest): Promise<StateAnswer> {
    try {
      return await this.answer(request);
    } catch (error) {
      if (!(error instanceof StateRefused)) throw error;
      // Terraform reads the holder out of a refused lock.
      const body = error.lockInfo === null ? { code: error.message } : error.lockInfo;
      return { status: STATUS[error.reason], body: JSON.stringify(body) };
    }
  }

  private async answer(request: StateRequest): Promise<StateAnswer> {
    const who = presented(request);
    if (request.body.length > this.maxBytes) return { status: 413, body: JSON.stringify({ code: 'state.too_large' }) };
    if (request.contentMd5 !== undefined && request.contentMd5 !== createHash('md5').update(request.body).digest('base64'))
      return { status: 400, body: JSON.stringify({ code: 'state.broken_on_the_way' }) };
    const text = request.body.toString('utf8');
    switch (request.method) {
      case 'GET': {
        const state = await this.wire.read(who);
        return state === null ? { status: 404, body: '' } : { status: 200, body: state };
      }
      case 'POST':
        await this.wire.write(who, request.lockId, text);
        return OK;
      case 'DELETE':
        await this.wire.remove(who, request.lockId);
        return OK;
      case 'LOCK': {
        const info = jsonOf(text);
        await this.wire.lock(who, idOf(info) ?? refuse('bad_state'), info);
        return OK;
      }
      case 'UNLOCK':
        await this.wire.unlock(who, idOf(jsonOf(text)));
        return OK;
      default:
        return { status: 405, body: '' };
    }
  }
}

const OK: StateAnswer = { status: 200, body: '' };

function refuse(reason: WireRefusal): never {
  throw new StateRefused(reason);
}

function presented(request: StateRequest): Presented {
  const given = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(request.authorization ?? '')?.[1];
  const text = given === undefined ? '' : Buffer.from(given, 'base64').toString('utf8');
  const cut = text.indexOf(':');
  if (cut < 1) refuse('unauthenticated');
  return { clusterRef: request.clusterRef, credentialId: text.slice(0, cut), secret: text.slice(cut + 1) };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function idOf(info: unknown): string | null {
  const id = (info as { ID?: unknown } | null)?.ID;
  return typeof id === 'string' && id !== '' ? id : null;
}
