import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Logger } from '#platform';
import type { Principal } from '#tenancy';
import { problemAnswer } from '../support/problem.filter.js';
import { readJson } from '../support/read-body.js';
import { requestIdOf } from '../support/request-id.js';
import { SINGLE, structured } from './usage-body.js';
import { MAX_USAGE_BYTES, PATH, type UsageDoor } from './usage-door.js';

export interface LaneOptions {
  door: UsageDoor;
  take(caller: Principal, events: unknown[]): Promise<unknown>;
  /** False: all requests go the usual way, for example while the process stops. */
  isOpen(): boolean;
  logger: Pick<Logger, 'error'>;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * The short way of a single usage event: a plain request of a key that was proved a moment ago goes from the socket to the intake,
 * beside Fastify and Nest, more than a quarter of what it cost us. Whatever is not plain goes the usual way, untouched, and the
 * answers are the same on both (`usage-lane.spec.ts` compares them). Call it when the server is made and does not listen yet.
 */
export function openLane(server: Server, { door, take, isOpen, logger }: LaneOptions): void {
  const usual = server.listeners('request') as Listener[];
  if (usual.length !== 1) throw new Error(`the server has ${usual.length} listeners instead of one`);
  server.removeListener('request', usual[0]!);

  const enters = (request: IncomingMessage, response: ServerResponse): boolean => {
    if (request.url !== PATH || request.method !== 'POST' || !isOpen()) return false;
    const { headers } = request;
    if (headers['content-type'] !== SINGLE || headers['content-encoding'] !== undefined) return false;
    // Without a stated length: not a number.
    const bytes = Number(headers['content-length']);
    if (!(bytes <= MAX_USAGE_BYTES)) return false;
    const caller = door.admit(headers.authorization, bytes, response);
    if (!caller) return false;
    // One that breaks off never ends; the door sees it close.
    let body: Buffer[] = [];
    request.on('data', (chunk: Buffer) => body.push(chunk));
    request.on('end', () => {
      const bytes = body.length === 1 ? body[0]! : Buffer.concat(body);
      body = [];
      void answer(bytes, caller, request, response);
    });
    return true;
  };

  const answer = async (bytes: Buffer, caller: Principal, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const id = requestIdOf(request.headers);
    const fail = (error: unknown, more: Record<string, string>): void => {
      const { status, headers, body } = problemAnswer(error, { id, url: PATH, headers: request.headers }, logger);
      send(response, status, { 'x-request-id': id, ...headers, ...more }, body);
    };
    let body: unknown;
    try {
      body = readJson(bytes);
    } catch (error) {
      // As Fastify does where it cannot read a body.
      return fail(error, { connection: 'close' });
    }
    try {
      const text = JSON.stringify(await take(caller, structured(SINGLE, body)));
      send(response, 200, { 'x-request-id': id, 'content-type': 'application/json; charset=utf-8' }, text);
    } catch (error) {
      fail(error, {});
    }
  };

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (!enters(request, response)) usual[0]!.call(server, request, response);
  });
}

function send(response: ServerResponse, status: number, headers: Record<string, string | number>, text: string): void {
  headers['content-length'] = Buffer.byteLength(text);
  response.writeHead(status, headers).end(text);
}
