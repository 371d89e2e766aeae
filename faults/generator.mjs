// The generator: the meters of all subscriptions. It reads them every five minutes of business time, writes each reading into its own
// log on disk, and only then posts it, as the source that the placement is bound to: numbered events with a watermark behind them. It
// is a participant of the development clock, as a cell is. What it has written is what has been used, whatever becomes of the posts.
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { between } from './random.mjs';

const EVERY_MS = 300_000;
const MIB = 1_048_576;
/** Events of one post. A quarter of an hour of fifty placements is two. */
const BATCH = 200;
const PATIENCE_MS = 90_000;

export class Generator {
  /** What posting met: answers that were no answer, and so were posted again. */
  repeated = 0;
  #offsetMs = 0;
  #doneMs = Infinity;
  #counters = new Map();
  #sources = new Map();
  #keys = new Map();
  #placements = [];
  #server;
  #posting;
  /** What ended it: a reading that was refused for good, or an intake that stayed away. */
  failure;

  /** `logFile` takes the readings; `seed` decides every one of them. */
  constructor({ logFile, seed }) {
    this.logFile = logFile;
    this.seed = seed;
  }

  /** Also the door at which cells post: their own samples are taken off the wire here, so that we alone speak for them. */
  async open() {
    this.#server = createServer((incoming, reply) => {
      this.#handle(incoming, reply).catch((error) => {
        this.failure ??= error;
        reply.writeHead(500).end();
      });
    });
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  /** Keeps business time from here on. */
  async join(sandboxUrl) {
    const answer = await fetch(`${sandboxUrl}/sandbox/clock/participants`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'fault-generator', url: `${this.url}/clock`, token: 'none-needed', order: 15 }),
    });
    this.#offsetMs = (await answer.json()).offsetMs;
  }

  /** From `fromMs` (a whole hour) on: `{placementId, externalId, marketplace, source}`. */
  begin(placements, fromMs, intakeUrl) {
    this.intakeUrl = intakeUrl;
    this.#placements = placements;
    this.#doneMs = fromMs - EVERY_MS;
    for (const { source } of placements) {
      if (!this.#keys.has(source)) throw new Error(`no cell has posted as ${source} yet: its key is not known`);
      this.#sources.set(source, 0);
    }
  }

  knows(source) {
    return this.#keys.has(source);
  }

  log() {
    return readFileSync(this.logFile, 'utf8')
      .trimEnd()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async #handle(incoming, reply) {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}');
    const answer = (json) => reply.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    if (incoming.url === '/clock') {
      if (typeof body.offsetMs === 'number') this.#offsetMs = Math.max(this.#offsetMs, body.offsetMs);
      return answer(body.phase === 'settle' ? { worked: await this.report() } : {});
    }
    const events = [body].flat();
    for (const { source } of events) this.#keys.set(source, incoming.headers.authorization);
    answer({ results: events.map(({ id }, index) => ({ index, id, outcome: 'accepted' })) });
  }

  /** Takes the readings that are due and posts what is not answered yet; true when there was any. One at a time. */
  report() {
    this.#posting ??= this.#report().finally(() => (this.#posting = undefined));
    return this.#posting;
  }

  async #report() {
    if (this.failure) throw this.failure;
    const lastMs = Math.floor((Date.now() + this.#offsetMs) / EVERY_MS) * EVERY_MS;
    const due = [];
    for (let atMs = this.#doneMs + EVERY_MS; atMs <= lastMs; atMs += EVERY_MS) due.push(atMs);
    if (due.length === 0) return false;
    this.#doneMs = lastMs;
    const events = new Map([...this.#sources.keys()].map((source) => [source, []]));
    for (const atMs of due) this.#read(atMs, events);
    await Promise.all([...events].map(([source, list]) => this.#post(source, list)));
    return true;
  }

  /** One reading of every meter, and behind it "all up to here is in". */
  #read(atMs, events) {
    const at = new Date(atMs).toISOString();
    const lines = [];
    const event = (source, type, data, more = {}) => {
      const number = this.#sources.get(source) + 1;
      this.#sources.set(source, number);
      events.get(source).push({
        specversion: '1.0',
        id: `${source}.${number}`,
        source,
        type,
        time: at,
        sequence: String(number),
        datacontenttype: 'application/json',
        data: type === 'berth.watermark.v1' ? { ...data, sequence: String(number) } : data,
        ...more,
      });
    };
    this.#placements.forEach(({ placementId, externalId, marketplace, source }, i) => {
      for (const [metric, kind, value] of this.#values(i, atMs)) {
        lines.push(JSON.stringify({ at, marketplace, externalId, metric, value }));
        event(source, 'berth.sample.v1', { metric, kind, value, epoch: 'run' }, { subject: placementId });
      }
    });
    appendFileSync(this.logFile, `${lines.join('\n')}\n`);
    for (const source of this.#sources.keys()) event(source, 'berth.watermark.v1', { through: at });
  }

  /** What lies there changes now and then; what is moved is nothing, a little or much. Neither is a round number. */
  #values(i, atMs) {
    const stored = between(1, 96 * MIB, this.seed, 'stored', i, Math.floor(atMs / (between(1, 6, this.seed, 'pace', i) * EVERY_MS)));
    const quiet = between(0, 3, this.seed, 'quiet', i, Math.floor(atMs / 3_600_000)) === 0;
    const moved = quiet ? 0 : between(0, 3 * MIB, this.seed, 'moved', i, atMs);
    const counted = (this.#counters.get(i) ?? 0) + moved;
    this.#counters.set(i, counted);
    return [
      ['stored_bytes', 'gauge', String(stored)],
      ['egress_bytes', 'counter', String(counted)],
    ];
  }

  async #post(source, events) {
    for (let from = 0; from < events.length; from += BATCH) await this.#postUntilAnswered(source, events.slice(from, from + BATCH));
  }

  /** What has no answer is posted again, the very same (guide: usage). */
  async #postUntilAnswered(source, events) {
    const limit = performance.now() + PATIENCE_MS;
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
      let why;
      try {
        const answer = await fetch(this.intakeUrl, {
          method: 'POST',
          headers: { authorization: this.#keys.get(source), 'content-type': 'application/cloudevents-batch+json' },
          body: JSON.stringify(events),
          signal: AbortSignal.timeout(20_000),
        });
        const text = await answer.text();
        if (answer.ok) {
          const wrong = JSON.parse(text).results.find(({ outcome }) => outcome !== 'accepted' && outcome !== 'duplicate');
          if (wrong?.code === 'usage.time_in_future') why = wrong.code;
          else if (wrong) throw new Refused(`the intake refused a reading: ${JSON.stringify(wrong)}`);
          else return;
        } else if (answer.status < 500 && answer.status !== 429)
          throw new Refused(`the intake refused: ${answer.status} ${text.slice(0, 300)}`);
        else why = `${answer.status} ${text.slice(0, 200)}`;
      } catch (error) {
        if (error instanceof Refused) throw error;
        why = String(error.cause ?? error);
      }
      if (performance.now() > limit) throw new Error(`the intake has not answered for ${PATIENCE_MS / 1000} s: ${why}`);
      this.repeated += 1;
      await sleep(pauseMs);
    }
  }
}

class Refused extends Error {}
