import { request as ask, type Server } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProblemError } from '#platform';
import type { Principal } from '#tenancy';
import { problemAnswer } from '../support/problem.filter.js';
import { readBodies } from '../support/read-body.js';
import { requestIdOf } from '../support/request-id.js';
import { eventsOf } from './usage-body.js';
import { MAX_USAGE_BYTES, PATH, UsageDoor } from './usage-door.js';
import { openLane } from './usage-lane.js';

const SINGLE = 'application/cloudevents+json';
const ROOM = 3 * 1024 * 1024;

describe('the lane of single usage events', () => {
  let app: FastifyInstance;
  let port: number;
  let isOpen: boolean;
  let remembers: boolean;
  /** Who took the request: the lane or Fastify. */
  let took: string[];
  let gate: Promise<void>;
  let logged: unknown[];

  const principalOf = (presented: string): Principal =>
    ({ kind: presented.split('_')[0], keyId: presented, name: presented, tenantId: 't', clusterId: 'c' }) as Principal;
  const take = async (by: string, caller: Principal, events: unknown[]): Promise<unknown> => {
    took.push(by);
    await gate;
    const { fault } = events[0] as { fault?: string };
    if (fault === 'full') throw new ProblemError('too_many', 'request.too_many_waiting', 'wait');
    if (fault === 'away') throw new ProblemError('unavailable', 'request.overloaded', 'wait');
    if (fault === 'ours') throw new Error('a secret of ours');
    return { results: [{ index: 0, id: 'ü', caller: caller.keyId, events }] };
  };

  beforeEach(async () => {
    [isOpen, remembers, took, gate, logged] = [true, true, [], Promise.resolve(), []];
    const logger = { error: (line: unknown) => void logged.push(line) };
    const keys = {
      known: (presented: string) => (remembers && presented !== '' ? principalOf(presented) : undefined),
      check: (presented: string) =>
        presented === ''
          ? Promise.reject(new ProblemError('unauthenticated', 'auth.key_invalid', 'no'))
          : Promise.resolve(principalOf(presented)),
    };
    app = Fastify({ bodyLimit: MAX_USAGE_BYTES + 65_536 });
    readBodies(app);
    app.addHook('onRequest', (request, reply, done) => {
      request.id = requestIdOf(request.headers);
      void reply.header('x-request-id', request.id);
      done();
    });
    const door = new UsageDoor(keys, { all: 3 * ROOM, each: 2 * ROOM });
    door.guard(app);
    app.setErrorHandler((error, request, reply) => {
      const { status, headers, body } = problemAnswer(error, request, logger);
      void reply.status(status).headers(headers).send(body);
    });
    app.post(PATH, async (request) => {
      const { principal } = request as unknown as { principal: Principal };
      if (principal.kind === 'tenant') throw new ProblemError('forbidden', 'auth.kind_not_allowed', 'no');
      return take('fastify', principal, eventsOf(request, request.body));
    });
    await app.ready();
    openLane(app.server as Server, { door, take: (caller, events) => take('lane', caller, events), isOpen: () => isOpen, logger });
    await app.listen({ port: 0, host: '127.0.0.1' });
    port = (app.server.address() as { port: number }).port;
  });
  afterEach(() => app.close());

  interface Sent {
    body?: string | Buffer;
    path?: string;
    method?: string;
    headers?: Record<string, string>;
  }
  const send = ({ body = '{"id":"ü"}', path = PATH, method = 'POST', headers = {} }: Sent): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const given = {
        authorization: 'Bearer operator_1',
        'content-type': SINGLE,
        'content-length': String(Buffer.byteLength(body)),
        'x-request-id': 'request-1',
        ...headers,
      };
      const client = ask(
        { port, path, method, headers: Object.fromEntries(Object.entries(given).filter(([, v]) => v !== '')) },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          answer.on('end', () => {
            client.destroy();
            const { date: _, ...rest } = answer.headers;
            resolve({ status: answer.statusCode, headers: rest, text });
          });
        },
      );
      client.on('error', reject).end(body);
    });

  const plain: [string, Sent][] = [
    ['an event', {}],
    ['an event of a cell', { headers: { authorization: 'bearer cell_1' } }],
    ['a body that is no JSON', { body: '{"a"' }],
    ['bytes that are no UTF-8', { body: Buffer.from([0x22, 0xff, 0x22]) }],
    ['a body of spaces', { body: '  ' }],
    ['no body', { body: '' }],
    ['null', { body: 'null' }],
    ['a text', { body: '"a"' }],
    ['an array', { body: '[{}]' }],
    ['an empty array', { body: '[]' }],
    ['an intake that is full for this key', { body: '{"fault":"full"}' }],
    ['an intake that is full', { body: '{"fault":"away"}' }],
    ['a fault of ours', { body: '{"fault":"ours"}' }],
  ];
  const other: [string, Sent][] = [
    ['a batch', { body: '[{}]', headers: { 'content-type': 'application/cloudevents-batch+json' } }],
    ['another writing of the type', { headers: { 'content-type': 'Application/CloudEvents+JSON; charset=utf-8' } }],
    ['another charset', { headers: { 'content-type': `${SINGLE}; charset=latin1` } }],
    ['plain JSON', { headers: { 'content-type': 'application/json' } }],
    ['binary mode', { body: '{}', headers: { 'content-type': 'application/json', 'ce-specversion': '1.0', 'ce-id': 'a' } }],
    ['a packed event', { body: gzipSync('{}'), headers: { 'content-encoding': 'gzip' } }],
    ['another encoding', { headers: { 'content-encoding': 'br' } }],
    ['a body of unknown length', { headers: { 'content-length': '', 'transfer-encoding': 'chunked' } }],
    ['too large a body', { body: ' '.repeat(MAX_USAGE_BYTES + 1) }],
    ['no key', { headers: { authorization: '' } }],
    ["a tenant's key", { headers: { authorization: 'Bearer tenant_1' } }],
    ['a query', { path: `${PATH}?a=1` }],
    ['a longer path', { path: `${PATH}/1` }],
    ['another method', { method: 'PUT' }],
  ];

  it.each(plain)('answers %s as Fastify does', async (_, sent) => {
    const answer = await send(sent);
    const by = took.at(-1);
    isOpen = false;
    expect(answer).toEqual(await send(sent));
    if (by) expect(took).toEqual(['lane', 'fastify']);
    // Refused before it reached the intake: on the lane too, where no hook of Fastify saw it.
    else expect(answer['status']).toBe(400);
    expect(JSON.stringify(answer)).not.toContain('secret');
    expect(logged).toHaveLength(answer['status'] === 200 || Number(answer['status']) < 500 ? 0 : 2);
  });

  it.each(other)('leaves %s to Fastify', async (_, sent) => {
    const answer = await send(sent);
    expect(took).not.toContain('lane');
    isOpen = false;
    expect(answer).toEqual(await send(sent));
  });

  it('leaves a key that was not proved a moment ago to Fastify', async () => {
    remembers = false;
    expect((await send({}))['status']).toBe(200);
    expect(took).toEqual(['fastify']);
  });

  it('reads a body that comes in pieces, and several requests of one connection', async () => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const head = `POST ${PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer operator_1\r\ncontent-type: ${SINGLE}\r\ncontent-length: 11\r\n\r\n`;
    socket.write(`${head}{"id":`);
    await delay(20);
    socket.write(`"ab"}${head}{"id":"cd"}\n`.replace('}\n', '}'));
    await expect.poll(() => text.match(/HTTP\/1\.1 200/g)?.length ?? text.length).toBe(2);
    expect(text).toContain('"events":[{"id":"ab"}]');
    expect(text).toContain('"events":[{"id":"cd"}]');
    expect(took).toEqual(['lane', 'lane']);
    socket.destroy();
  });

  it('keeps room until the answer, and gives it back whatever becomes of the request', async () => {
    let open = (): void => undefined;
    gate = new Promise((resolve) => (open = resolve));
    const full = { body: `{"a":"${' '.repeat(ROOM - 8)}"}` };
    const running = [send(full), send(full)];
    await expect.poll(() => took.length).toBe(2);
    expect((await send({}))['status']).toBe(429);
    const others = { body: ' '.repeat(MAX_USAGE_BYTES), headers: { authorization: 'Bearer operator_2' } };
    expect((await send(others))['status']).toBe(503);
    open();
    await Promise.all(running);
    // Broken off in the middle of the body.
    for (let n = 0; n < 3; n++) {
      const socket = connect(port, '127.0.0.1');
      socket.write(
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer operator_1\r\ncontent-type: ${SINGLE}\r\ncontent-length: ${ROOM}\r\n\r\n{`,
      );
      await delay(20);
      socket.destroy();
    }
    await expect.poll(async () => Promise.all([send(full), send(full)]).then((all) => all.map((a) => a['status']))).toEqual([200, 200]);
  });
});
