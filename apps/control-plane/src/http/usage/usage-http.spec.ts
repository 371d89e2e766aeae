import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProblemError } from '#platform';
import { readBodies } from '../support/read-body.js';
import { toProblem } from '../support/problem.filter.js';
import { eventsOf } from './usage-body.js';
import { MAX_USAGE_BYTES, UsageDoor } from './usage-door.js';

const URL_PATH = '/api/v1/usage-events';
const BATCH = 'application/cloudevents-batch+json';
const SINGLE = 'application/cloudevents+json';

describe('the door of the usage intake', () => {
  let app: FastifyInstance;
  let checked: string[];
  let handled: unknown[][];
  let gate: Promise<void>;

  const keys = {
    known: () => undefined,
    check: async (presented: string) => {
      checked.push(presented);
      if (presented === '') throw new ProblemError('unauthenticated', 'auth.key_invalid', 'no');
      return { kind: 'operator' as const, keyId: presented, name: presented };
    },
  };
  beforeEach(() => {
    [checked, handled, gate] = [[], [], Promise.resolve()];
    app = Fastify({ bodyLimit: MAX_USAGE_BYTES + 65_536 });
    readBodies(app);
    new UsageDoor(keys, { all: 2 * MAX_USAGE_BYTES + 1_000_000, each: 2 * MAX_USAGE_BYTES }).guard(app);
    app.setErrorHandler((error, _, reply) => {
      const problem = toProblem(error);
      void reply.status(problem.status).send({ code: problem.code });
    });
    app.post(URL_PATH, async (request) => {
      const events = eventsOf(request, request.body);
      handled.push(events);
      await gate;
      return { n: events.length };
    });
  });
  afterEach(() => app.close());

  const post = async (payload: string | Buffer, headers: Record<string, string> = {}): Promise<string> => {
    const answer = await app.inject({
      method: 'POST',
      url: URL_PATH,
      headers: { authorization: 'Bearer k1', 'content-type': BATCH, ...headers },
      payload,
    });
    const body = answer.json<{ code?: string; n?: number }>();
    return `${answer.statusCode} ${body.code ?? body.n}`;
  };

  it.each([
    ['one event', '{"id":"1"}', { 'content-type': SINGLE }, '200 1'],
    ['a batch', '[{},{}]', {}, '200 2'],
    ['a batch as any case and charset', '[{}]', { 'content-type': 'Application/CloudEvents-Batch+JSON; charset="UTF-8"' }, '200 1'],
    ['a batch as plain JSON', '[{},{},{}]', { 'content-type': 'application/json' }, '200 3'],
    ['a packed batch', gzipSync('[{}]'), { 'content-encoding': 'gzip' }, '200 1'],
    ['5,000 events', `[${'{},'.repeat(4_999)}{}]`, {}, '200 5000'],
    ['5,001 events', `[${'{},'.repeat(5_000)}{}]`, {}, '413 usage.batch_too_large'],
    ['an array as one event', '[{}]', { 'content-type': SINGLE }, '400 usage.not_one_event'],
    ['one event as a batch', '{}', {}, '400 usage.not_a_batch'],
    ['an empty batch', '[]', {}, '400 usage.no_events'],
    ['no body', '', { 'content-type': SINGLE }, '400 usage.no_events'],
    ['a text', '"x"', { 'content-type': 'application/json' }, '400 usage.no_events'],
    ['broken JSON', '[{', {}, '400 request.malformed_json'],
    ['bytes that are no UTF-8', Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]), {}, '400 request.malformed_json'],
    ['a form', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, '415 usage.content_type_unsupported'],
    ['XML', '<a/>', { 'content-type': 'application/cloudevents+xml' }, '415 usage.content_type_unsupported'],
    ['another charset', '[{}]', { 'content-type': `${BATCH}; charset=iso-8859-1` }, '415 usage.content_type_unsupported'],
    ['another encoding', '[{}]', { 'content-encoding': 'br' }, '415 request.encoding_unsupported'],
    ['what is no gzip', '[{}]', { 'content-encoding': 'gzip' }, '400 request.encoding_broken'],
    ['a torn gzip', gzipSync('[{}]').subarray(0, 12), { 'content-encoding': 'gzip' }, '400 request.encoding_broken'],
    ['more than 5 MiB', ' '.repeat(MAX_USAGE_BYTES + 1), {}, '413 request.too_large'],
    ['far more than 5 MiB', ' '.repeat(MAX_USAGE_BYTES + 100_000), {}, '413 request.too_large'],
    ['no key', '[{}]', { authorization: '' }, '401 auth.key_invalid'],
  ])('answers %s', async (_, payload, headers, expected) => {
    expect(await post(payload, headers)).toBe(expected);
  });

  it('takes binary mode: attributes in percent-encoded headers, data in the body', async () => {
    const headers = {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-id': 'a%20%C3%A9',
      'ce-source': '/s',
      'ce-type': 't',
    };
    expect(await post('{"value":"1"}', headers)).toBe('200 1');
    expect(handled).toEqual([
      [{ specversion: '1.0', id: 'a é', source: '/s', type: 't', datacontenttype: 'application/json', data: { value: '1' } }],
    ]);
    expect(await post('{}', { ...headers, 'ce-id': '%E9' })).toBe('400 usage.invalid_header');
  });

  it('never unfolds a bomb: it is refused, and costs little memory', async () => {
    const bomb = gzipSync(Buffer.alloc(128 * 1024 * 1024), { level: 1 });
    expect(bomb.length).toBeLessThan(MAX_USAGE_BYTES);
    const before = process.memoryUsage().rss;
    expect(await post(bomb, { 'content-encoding': 'gzip' })).toBe('413 request.too_large');
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  it('proves the key before it reads a byte of the body', async () => {
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as { port: number };
    const socket = connect(port, '127.0.0.1');
    const answer = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())));
    socket.write(`POST ${URL_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: ${BATCH}\r\ncontent-length: 4000000\r\n\r\n[`);
    expect(await answer).toMatch(/^HTTP\/1\.1 401 /);
    socket.destroy();
  });

  it('keeps room by stated length: one key gets 429 for its own, all get 503, and what ends gives its room back', async () => {
    let open = (): void => undefined;
    gate = new Promise((resolve) => (open = resolve));
    const full = `[{"a":"${randomBytes(2).toString('hex')}${' '.repeat(MAX_USAGE_BYTES - 200)}"}]`;
    const as = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
    const running = [post(full, as('a')), post(full, as('a')), post('[{}]', as('b'))];
    await expect.poll(() => handled.length).toBe(3);
    expect(await post(full, as('a'))).toBe('429 request.too_many_waiting');
    // Packed: it counts as the most that it may become.
    expect(await post(gzipSync('[{}]'), { ...as('c'), 'content-encoding': 'gzip' })).toBe('503 request.overloaded');
    open();
    expect(await Promise.all(running)).toEqual(['200 1', '200 1', '200 1']);
    expect(await Promise.all([post(full, as('a')), post(full, as('b')), post('[{}]', as('c'))])).toEqual(['200 1', '200 1', '200 1']);
  });

  it('gives the room back when a client breaks off in the middle of its body', async () => {
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as { port: number };
    for (let n = 0; n < 5; n++) {
      const socket = connect(port, '127.0.0.1');
      socket.write(
        `POST ${URL_PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k1\r\ncontent-type: ${BATCH}\r\ncontent-length: ${MAX_USAGE_BYTES}\r\n\r\n[`,
      );
      await expect.poll(() => checked.length).toBe(n + 1);
      socket.destroy();
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await expect.poll(() => post(' '.repeat(MAX_USAGE_BYTES - 10) + '[{}]', {})).toBe('200 1');
  });
});
