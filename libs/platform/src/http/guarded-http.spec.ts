import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { GuardedHttp, hostsOf, HttpTransportError, isLoopbackName } from './guarded-http.js';

describe('the guarded HTTP client', () => {
  const servers: (Server | TcpServer)[] = [];
  const clients: GuardedHttp[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close();
    for (const server of servers.splice(0)) {
      (server as Server).closeAllConnections?.();
      server.close();
    }
  });

  const listen = (server: Server | TcpServer): Promise<string> =>
    new Promise((resolve) => {
      servers.push(server);
      server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`));
    });
  const serve = (listener: RequestListener): Promise<string> => listen(createServer(listener));
  const client = (allow: string[], lookup?: unknown): GuardedHttp => {
    const made = new GuardedHttp({ allow, lookup: lookup as never });
    clients.push(made);
    return made;
  };
  const failure = (sent: Promise<unknown>): Promise<HttpTransportError> =>
    sent.then(
      () => expect.fail('it was answered'),
      (error: unknown) => {
        expect(error).toBeInstanceOf(HttpTransportError);
        return error as HttpTransportError;
      },
    );

  it('sends method, headers and body, and gives status, headers and text back, whatever the status', async () => {
    const host = await serve((req, res) => {
      let body = '';
      req.on('data', (chunk: Buffer) => (body += chunk.toString()));
      req.on('end', () =>
        res.writeHead(418, { 'x-seen': req.headers['x-mine'] as string, 'set-cookie': ['a=1', 'b=2'] }).end(`${req.method} ${body}`),
      );
    });
    const answer = await client([host]).request({ method: 'POST', url: `http://${host}/x`, headers: { 'x-mine': 'yes' }, body: 'ünïcode' });
    expect(answer).toMatchObject({ status: 418, text: 'POST ünïcode', headers: { 'x-seen': 'yes', 'set-cookie': 'a=1, b=2' } });
  });

  it.each([
    ['a host that is not listed', 'https://elsewhere.example/'],
    ['another port of a listed host', 'http://127.0.0.1:1/'],
    ['a name that only ends like a listed one', 'https://evil-api.example/'],
    ['a listed name as user information', 'https://api.example@elsewhere.example/'],
    ['plain http to another machine', 'http://api.example/'],
    ['another protocol', 'ftp://api.example/'],
    ['a file', 'file:///etc/hosts'],
  ])('refuses %s before a socket is opened', async (_what, url) => {
    const error = await failure(client(['api.example', '127.0.0.1:2']).request({ method: 'GET', url }));
    expect(error).toMatchObject({ code: 'http.not_allowed', sent: false });
  });

  it.each([
    '10.0.0.5',
    '127.0.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '198.18.0.1',
    '::1',
    '::',
    'fd00::1',
    'fe80::1',
    '::ffff:10.0.0.5',
    '::ffff:a00:5',
    '64:ff9b::a00:5',
    'ff02::1',
  ])('refuses a listed name that resolves to the private address %s', async (address) => {
    const lookup = (_name: string, _options: object, callback: (e: null, a: unknown, f?: number) => void): void =>
      callback(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
    const error = await failure(client(['api.example'], lookup).request({ method: 'GET', url: 'https://api.example/' }));
    expect(error).toMatchObject({ code: 'http.not_allowed', sent: false });
  });

  it('refuses a name of which one address of several is private', async () => {
    const lookup = (_name: string, _options: object, callback: (e: null, a: unknown) => void): void =>
      callback(null, [
        { address: '203.0.113.7', family: 4 },
        { address: '10.0.0.5', family: 4 },
      ]);
    expect(await failure(client(['api.example'], lookup).request({ method: 'GET', url: 'https://api.example/' }))).toMatchObject({
      code: 'http.not_allowed',
    });
  });

  it('reaches this machine by a loopback name that is listed', async () => {
    const host = await serve((_req, res) => res.end('here'));
    const port = host.split(':')[1]!;
    expect((await client([`localhost:${port}`]).request({ method: 'GET', url: `http://localhost:${port}/` })).text).toBe('here');
  });

  it('follows no redirect', async () => {
    let visits = 0;
    const host = await serve((_req, res) => {
      visits += 1;
      res.writeHead(302, { location: '/elsewhere' }).end();
    });
    expect(await client([host]).request({ method: 'GET', url: `http://${host}/` })).toMatchObject({ status: 302 });
    expect(visits).toBe(1);
  });

  it('stops reading an answer that is too large', async () => {
    const host = await serve((_req, res) => res.end('x'.repeat(5_000)));
    expect(await failure(client([host]).request({ method: 'GET', url: `http://${host}/`, maxBytes: 4_999 }))).toMatchObject({
      code: 'http.too_large',
      sent: true,
    });
    expect((await client([host]).request({ method: 'GET', url: `http://${host}/`, maxBytes: 5_000 })).text).toHaveLength(5_000);
  });

  it('gives up after its time, also in the middle of an answer; the effect is unknown', async () => {
    const silent = await serve(() => undefined);
    expect(await failure(client([silent]).request({ method: 'POST', url: `http://${silent}/`, timeoutMs: 100 }))).toMatchObject({
      code: 'http.timeout',
      sent: true,
    });
    const slow = await serve((_req, res) => {
      res.writeHead(200);
      res.write('half');
    });
    expect(await failure(client([slow]).request({ method: 'POST', url: `http://${slow}/`, timeoutMs: 150 }))).toMatchObject({
      code: 'http.timeout',
      sent: true,
    });
  });

  it('knows that nothing was sent where nobody listens', async () => {
    const host = await serve(() => undefined);
    await new Promise((resolve) => servers.pop()!.close(resolve));
    expect(await failure(client([host]).request({ method: 'POST', url: `http://${host}/` }))).toMatchObject({
      code: 'ECONNREFUSED',
      sent: false,
    });
  });

  it('knows that nothing was sent where the name is unknown', async () => {
    const lookup = (_name: string, _options: object, callback: (e: Error) => void): void =>
      callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    expect(await failure(client(['api.example'], lookup).request({ method: 'POST', url: 'https://api.example/' }))).toMatchObject({
      code: 'ENOTFOUND',
      sent: false,
    });
  });

  it('calls the effect unknown when the connection is cut after the request was sent', async () => {
    const host = await listen(createTcpServer((socket) => void socket.on('data', () => socket.destroy())));
    expect((await failure(client([host]).request({ method: 'POST', url: `http://${host}/`, body: 'pay' }))).sent).toBe(true);
  });

  it('never repeats a request by itself', async () => {
    let requests = 0;
    const host = await serve((req) => {
      requests += 1;
      req.socket.destroy();
    });
    await failure(client([host]).request({ method: 'GET', url: `http://${host}/` }));
    expect(requests).toBe(1);
  });

  it('makes an allow-list of the hosts and ports of configured URLs', () => {
    expect(hostsOf(['https://A.example/x', undefined, 'http://127.0.0.1:4100/azure', 'https://a.example/y'])).toEqual([
      'a.example',
      '127.0.0.1:4100',
    ]);
  });

  it.each([
    ['localhost', true],
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['[::1]', true],
    ['127.0.0.1.example', false],
    ['localhost.example', false],
    ['10.0.0.1', false],
    ['', false],
  ])('takes %s for this machine: %s', (name, expected) => expect(isLoopbackName(name)).toBe(expected));
});
