import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { isLoopbackUrl } from '../config.js';
import type { VirtualClock } from './clock.js';
import { type ClockAdvancer, ClockBusyError, ClockNotSettledError } from './clock-advance.js';
import { parseBody } from './http.js';

export const participantBody = z.object({
  name: z.string().min(1),
  url: z.string().refine(isLoopbackUrl, 'must be a loopback URL'),
  token: z.string().min(1),
  order: z.number().int(),
});
export const advanceBody = z.object({
  seconds: z
    .number()
    .positive()
    .max(400 * 86_400),
  stepSeconds: z.number().positive().default(300),
});

/** docs/guides/clock-protocol.md, "Sandbox". */
export function clockRoutes(scope: FastifyInstance, clock: VirtualClock, advancer: ClockAdvancer): void {
  scope.get('/sandbox/clock', () => ({
    offsetMs: clock.offsetMs,
    generation: clock.generation,
    now: clock.now().toISOString(),
    participants: advancer.participants
      .values()
      .map(({ name, order }) => ({ name, order }))
      .sort((a, b) => a.order - b.order || a.name.localeCompare(b.name)),
  }));

  scope.post('/sandbox/clock/participants', (request) => {
    const one = parseBody(participantBody, request.body);
    advancer.participants.put(one.name, one);
    return { offsetMs: clock.offsetMs, generation: clock.generation };
  });

  scope.delete<{ Params: { name: string } }>('/sandbox/clock/participants/:name', (request, reply) => {
    advancer.participants.delete(request.params.name);
    return reply.code(204).send();
  });

  scope.post('/sandbox/clock/advance', async (request, reply) => {
    const { seconds, stepSeconds } = parseBody(advanceBody, request.body);
    try {
      return await advancer.advance(seconds, stepSeconds);
    } catch (error) {
      if (error instanceof ClockBusyError) return reply.code(409).send({ code: 'clock.busy', message: error.message });
      if (error instanceof ClockNotSettledError) {
        return reply
          .code(504)
          .send({ code: 'clock.not_settled', message: error.message, stillWorking: error.stillWorking, lost: error.lost });
      }
      throw error;
    }
  });
}
