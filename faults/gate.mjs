// The wire between the control plane and the marketplaces, in the runner's hands: it can hold a call, cut it before or after it took
// effect, refuse a marketplace altogether, and set our clock apart from theirs. It changes no byte of a call or an answer.
import { Agent, createServer, request } from 'node:http';

const MARKET = /^\/(azure|aws|gcp)\//;
const isUsage = (incoming) =>
  /\/batchUsageEvent\b|:report$/.test(incoming.url.split('?')[0]) ||
  (incoming.url.startsWith('/aws/metering') && /BatchMeterUsage$/.test(incoming.headers['x-amz-target'] ?? ''));

export class Gate {
  /** Marketplaces that refuse connections. */
  down = new Set();
  refused = { azure: 0, aws: 0, gcp: 0 };
  /** How far the control plane's clock is from the marketplaces', in milliseconds. */
  skewMs = 0;
  /** Called with (marketplace) for each usage call; answers undefined to let it through, or what to do with it (see `usage`). */
  trap = () => undefined;
  /** Usage calls by marketplace. */
  calls = { azure: 0, aws: 0, gcp: 0 };
  #participants = [];
  #agent = new Agent({ keepAlive: true });
  #server;

  static async open(target) {
    const gate = new Gate();
    gate.target = target;
    gate.#server = createServer((incoming, reply) => {
      gate.#handle(incoming, reply).catch(() => incoming.socket.destroy());
    });
    await new Promise((resolve) => gate.#server.listen(0, '127.0.0.1', resolve));
    gate.url = `http://127.0.0.1:${gate.#server.address().port}`;
    return gate;
  }

  close() {
    this.#server.closeAllConnections();
    this.#agent.destroy();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(incoming, reply) {
    const marketplace = MARKET.exec(incoming.url)?.[1];
    if (marketplace && this.down.has(marketplace)) {
      this.refused[marketplace] += 1;
      return incoming.socket.destroy();
    }
    const body = await readAll(incoming);
    if (incoming.url === '/sandbox/clock/participants' && incoming.method === 'POST') return this.#join(incoming, body, reply);
    const own = /^\/faults\/clock\/(\d+)$/.exec(incoming.url);
    if (own) return this.#tick(this.#participants[Number(own[1])], incoming, body, reply);
    const usage = marketplace !== undefined && isUsage(incoming);
    if (usage) this.calls[marketplace] += 1;
    const trap = usage ? this.trap(marketplace) : undefined;
    if (trap?.before) {
      await trap.before();
      return incoming.socket.destroy();
    }
    const answer = await this.#forward(this.target, incoming.url, incoming, body);
    if (trap?.after) {
      await trap.after();
      return incoming.socket.destroy();
    }
    pass(reply, answer);
  }

  /** The control plane is asked through us, so that its time can be set apart. Cells are left as they are. */
  async #join(incoming, body, reply) {
    const one = JSON.parse(body.toString());
    const isOurs = one.name.startsWith('control-plane');
    const text = isOurs ? JSON.stringify({ ...one, url: `${this.url}/faults/clock/${this.#participants.push(one.url) - 1}` }) : body;
    const answer = await this.#forward(this.target, incoming.url, incoming, Buffer.from(text));
    pass(reply, isOurs ? { ...answer, body: this.#apart(answer.body) } : answer);
  }

  async #tick(url, incoming, body, reply) {
    const { origin, pathname } = new URL(url);
    pass(reply, await this.#forward(origin, pathname, incoming, this.#apart(body)));
  }

  #apart(body) {
    const json = JSON.parse(body.toString());
    return Buffer.from(
      JSON.stringify(typeof json.offsetMs === 'number' ? { ...json, offsetMs: Math.max(0, json.offsetMs + this.skewMs) } : json),
    );
  }

  #forward(target, path, { method, headers }, body) {
    return new Promise((resolve, reject) => {
      const kept = without(headers, 'transfer-encoding', 'content-length');
      const onward = request(`${target}${path}`, {
        method,
        headers: body.length > 0 || method === 'POST' ? { ...kept, 'content-length': body.length } : kept,
        agent: this.#agent,
      });
      onward.once('error', reject);
      onward.once('response', (answer) =>
        readAll(answer).then((text) => resolve({ status: answer.statusCode, headers: answer.headers, body: text }), reject),
      );
      onward.end(body);
    });
  }
}

const without = (headers, ...names) => Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));

function pass(reply, { status, headers, body }) {
  const kept = without(headers, 'transfer-encoding', 'connection', 'keep-alive');
  reply.sendDate = false;
  reply.writeHead(status, { ...kept, 'content-length': body.length });
  reply.end(body);
}

async function readAll(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
