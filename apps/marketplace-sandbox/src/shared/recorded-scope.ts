import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { CallsLog } from './calls-log.js';
import { dripped, garbled } from './broken-answers.js';
import { callFaultKinds, type Fault, type Faults } from './faults.js';
import { redact, redactHeaders } from './redact.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Name of the marketplace operation, as shown in /sandbox/calls and matched by faults. */
    operation?: string;
  }
  interface FastifyRequest {
    callSequence?: number;
    fault?: Fault;
  }
}

export interface RecordedScope {
  marketplace: string;
  calls: CallsLog;
  faults: Faults;
  /** The marketplace's own words for an injected failure. */
  failureBody(status: number): unknown;
  /** Where one address serves several operations; otherwise the route's own config names it. */
  operationOf?(request: FastifyRequest): string;
  /** What a throttled call is answered with; 429 unless the marketplace has its own way. */
  throttleStatus?: number;
  /** How the marketplace refuses a credential that has run out; 401 with its failure body unless it has words of its own. */
  expiredToken?: () => Error;
}

const HELD_MS = 120_000;
const SHOWN_CHARACTERS = 20_000;

/** Every call in this scope is logged from the moment it arrives, and scripted faults strike here. */
export function recordCalls(
  scope: FastifyInstance,
  { marketplace, calls, faults, failureBody, operationOf, throttleStatus = 429, expiredToken }: RecordedScope,
): void {
  const nameOf = (request: FastifyRequest): string => operationOf?.(request) ?? request.routeOptions.config.operation ?? 'unknown';
  scope.addHook('onRequest', (request, reply, done) => {
    const operation = nameOf(request);
    const sequence = calls.begin({
      marketplace,
      operation,
      method: request.method,
      path: request.url,
      request: { headers: redactHeaders(request.headers), body: null },
    });
    request.callSequence = sequence;
    reply.raw.once('close', () => calls.end(sequence));
    done();
  });

  scope.addHook('preHandler', async (request, reply) => {
    const sequence = request.callSequence ?? 0;
    calls.update(sequence, {
      request: { headers: redactHeaders(request.headers), body: redact(request.bodyText ?? request.body ?? null) },
    });
    const fault = faults.take(marketplace, nameOf(request), callFaultKinds);
    if (!fault) return;
    request.fault = fault;
    calls.update(sequence, { fault: fault.kind });
    if (fault.kind === 'expired_token' && expiredToken) throw expiredToken();
    await strikeBefore(fault, request, reply, failureBody, throttleStatus);
  });

  scope.addHook('onSend', async (request, reply, payload) => {
    const fault = request.fault;
    const answer = { status: reply.statusCode, response: shown(payload) };
    const sequence = request.callSequence ?? 0;
    if (fault?.kind === 'delay_after') await pause(fault.delayMs ?? 1000, reply);
    if (fault?.kind === 'time_out_after' || fault?.kind === 'drop_after') {
      // The effect has happened and is kept; the caller never learns of it.
      calls.update(sequence, { ...answer, unanswered: true });
      if (fault.kind === 'time_out_after') await pause(fault.delayMs ?? HELD_MS, reply);
      calls.update(sequence, { inFlight: false });
      request.raw.socket.destroy();
      return payload;
    }
    if (fault?.kind === 'skew') reply.header('date', new Date(Date.now() + fault.skewMs).toUTCString());
    if (fault?.kind === 'malformed_after' || fault?.kind === 'slow_after') {
      // The effect has happened; what the caller gets of its answer is worth nothing, or comes too late.
      calls.update(sequence, { ...answer, inFlight: false, unanswered: true });
      return fault.kind === 'slow_after' ? dripped(payload, fault.delayMs ?? 1000, reply) : garbled(payload, fault, reply);
    }
    calls.update(sequence, { ...answer, inFlight: false, ...(reply.raw.destroyed ? { unanswered: true } : {}) });
    return payload;
  });
}

async function strikeBefore(
  fault: Fault,
  request: FastifyRequest,
  reply: FastifyReply,
  failureBody: (status: number) => unknown,
  throttleStatus: number,
): Promise<void> {
  switch (fault.kind) {
    case 'status': {
      const status = fault.status ?? 500;
      if (fault.retryAfter !== undefined) reply.header('retry-after', String(fault.retryAfter));
      await reply.code(status).send(failureBody(status));
      return;
    }
    case 'expired_token':
      await reply.code(401).send(failureBody(401));
      return;
    case 'throttle':
      await reply
        .code(fault.status ?? throttleStatus)
        .header('retry-after', String(fault.retryAfter ?? 5))
        .send(failureBody(fault.status ?? throttleStatus));
      return;
    case 'delay_before':
      await pause(fault.delayMs ?? 1000, reply);
      return;
    case 'time_out_before':
    case 'drop_before':
      reply.hijack();
      if (fault.kind === 'time_out_before') await pause(fault.delayMs ?? HELD_MS, reply);
      request.raw.socket.destroy();
      return;
    default:
      return;
  }
}

/** Waits in real time, and no longer than the caller does. */
function pause(ms: number, reply: FastifyReply): Promise<void> {
  return new Promise((resolve) => {
    if (reply.raw.destroyed) return resolve();
    const timer = setTimeout(finish, ms);
    function finish(): void {
      clearTimeout(timer);
      reply.raw.off('close', finish);
      resolve();
    }
    reply.raw.once('close', finish);
  });
}

function shown(payload: unknown): unknown {
  if (typeof payload !== 'string') return null;
  if (payload.length > SHOWN_CHARACTERS) return `${payload.slice(0, SHOWN_CHARACTERS)}…`;
  return redact(payload);
}
