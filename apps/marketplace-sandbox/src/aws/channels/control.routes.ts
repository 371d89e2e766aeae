import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { ControlError, parseBody } from '../../shared/http.js';
import { isLoopbackUrl } from '../../config.js';
import type { AwsChannels } from './index.js';
import { FORGERIES } from './topics.js';

const loopback = z.string().refine(isLoopbackUrl, 'must be a loopback URL');
export const entitleBody = z.strictObject({
  dimension: z.string().min(1),
  value: z.union([z.number(), z.boolean(), z.string(), z.null()]),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
  lagSeconds: z.number().nonnegative().optional(),
});
export const legacyPurchaseBody = z.strictObject({
  productCode: z.string(),
  buyerAccountId: z
    .string()
    .regex(/^\d{12}$/)
    .optional(),
  freeTrial: z.boolean().optional(),
  /** Whether the payment works: subscribe-success or subscribe-fail; absent: neither is told yet. */
  pays: z.boolean().optional(),
  entitlements: z.array(entitleBody).optional(),
});
const lagBody = z.strictObject({ lagSeconds: z.number().nonnegative().optional() });
export const subscribeBody = z.strictObject({
  topicArn: z.string(),
  protocol: z.enum(['http', 'https', 'sqs']).default('http'),
  /** An address on this machine; for `sqs` the name of a queue. */
  endpoint: z.string().min(1),
});
export const snsBody = z.strictObject({
  endpoint: loopback,
  topicArn: z.string(),
  message: z.string(),
  subject: z.string().optional(),
  type: z.enum(['Notification', 'SubscriptionConfirmation']).default('Notification'),
  token: z.string().optional(),
  messageId: z.string().optional(),
  signatureVersion: z.enum(['1', '2']).optional(),
  forge: z.enum(FORGERIES).default('none'),
});
export const queueMessageBody = z.strictObject({ body: z.string() });

type Action = { Params: { id: string; action: string } };

/** Topics, queues and legacy listings on AWS's side of the counter. Registered under /sandbox/aws. */
export function awsChannelRoutes(scope: FastifyInstance, { topics, queues, legacy }: AwsChannels): void {
  scope.post('/legacy/purchases', (request, reply) => reply.code(201).send(legacy.purchase(parseBody(legacyPurchaseBody, request.body))));
  scope.get('/legacy/customers', () => ({ items: legacy.list() }));
  scope.post<Action>('/legacy/customers/:id/:action', (request, reply) => {
    const { id, action } = request.params;
    if (action === 'register') return reply.code(201).send(legacy.register(id));
    const entitle =
      action === 'entitle'
        ? parseBody(entitleBody, request.body)
        : action === 'end-contract'
          ? { dimension: '', value: null, ...parseBody(lagBody, request.body) }
          : undefined;
    legacy.act(id, action, entitle);
    return reply.code(202).send({ customerIdentifier: id });
  });

  scope.get('/sns/subscriptions', () => ({ items: topics.list() }));
  scope.post('/sns/subscriptions', (request, reply) => {
    const { topicArn, protocol, endpoint } = parseBody(subscribeBody, request.body);
    if (protocol !== 'sqs' && !isLoopbackUrl(endpoint)) throw new ControlError(400, 'body.invalid', 'endpoint: must be a loopback URL');
    const { token: _token, ...made } = topics.subscribe(topicArn, protocol, endpoint);
    return reply.code(201).send(made);
  });
  scope.post('/sns/messages', async (request) => topics.send(parseBody(snsBody, request.body)));

  scope.get<{ Params: { name: string } }>('/queues/:name/messages', (request) => ({
    url: queues.urlOf(request.params.name),
    items: queues
      .list()
      .filter((one) => one.queue === request.params.name)
      .map(({ id, body, receives, visibleAtMs }) => ({ id, body, receives, isVisible: visibleAtMs <= Date.now() })),
  }));
  scope.post<{ Params: { name: string } }>('/queues/:name/messages', (request, reply) =>
    reply.code(201).send({ messageId: queues.put(request.params.name, parseBody(queueMessageBody, request.body).body) }),
  );
}
