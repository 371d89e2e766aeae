import type { FastifyInstance } from 'fastify';
import type { CallsLog } from '../../shared/calls-log.js';
import type { AwsContext } from '../context.js';
import type { Deliveries } from '../deliveries.js';
import { serviceScope } from '../service-scope.js';
import { Agreements } from './agreements.js';
import { Entitlements } from './entitlements.js';
import { LegacyDesk } from './legacy.js';
import { Queues } from './queues.js';
import { Roles } from './sts.js';
import { Topics } from './topics.js';

/** What AWS has beside metering and the bus: SNS, SQS, STS, the entitlement and agreement services, and legacy listings. */
export class AwsChannels {
  readonly topics: Topics;
  readonly queues: Queues;
  readonly legacy: LegacyDesk;
  readonly roles: Roles;
  readonly entitlements: Entitlements;
  private readonly agreements: Agreements;

  constructor(
    private readonly context: AwsContext,
    private readonly calls: CallsLog,
    deliveries: Deliveries,
    baseUrl: () => string,
    kick: () => void,
  ) {
    this.queues = new Queues(context, baseUrl);
    this.topics = new Topics(context, deliveries, baseUrl, kick);
    this.entitlements = new Entitlements(context);
    this.agreements = new Agreements(context);
    this.legacy = new LegacyDesk(context, this.topics, this.entitlements);
    this.roles = new Roles(context);
    deliveries.useQueues((queue, body) => void this.queues.put(queue, body));
  }

  register(app: FastifyInstance): void {
    const parts = { context: this.context, calls: this.calls, faults: this.context.faults, sessions: this.roles };
    serviceScope(app, parts, {
      prefix: '/aws/entitlement',
      name: 'aws-marketplace',
      json: { contentType: 'application/x-amz-json-1.1', target: 'AWSMPEntitlementService.' },
      operations: this.entitlements.operations(),
    });
    serviceScope(app, parts, {
      prefix: '/aws/agreement',
      name: 'aws-marketplace',
      json: { contentType: 'application/x-amz-json-1.0', target: 'AWSMPCommerceService_v20200301.' },
      operations: this.agreements.operations(),
    });
    serviceScope(app, parts, {
      prefix: '/aws/sqs',
      name: 'sqs',
      json: { contentType: 'application/x-amz-json-1.0', target: 'AmazonSQS.' },
      operations: this.queues.operations(),
    });
    serviceScope(app, parts, { prefix: '/aws/sts', name: 'sts', operations: this.roles.operations() });
    serviceScope(app, parts, {
      prefix: '/aws/sns',
      name: 'sns',
      operations: this.topics.operations(),
      more: (scope) => {
        scope.get<{ Params: { file: string } }>('/:file', { config: { operation: 'signingCertificate' } }, (request, reply) => {
          const { file } = request.params;
          // Where a verifier follows redirects, it believes whoever answers in the end.
          if (file.startsWith('SimpleNotificationService-beef')) return reply.redirect(`/aws/sns/${this.topics.signer.fileOf()}`, 302);
          if (!/^SimpleNotificationService-[0-9a-f]+\.pem$/.test(file)) return reply.code(404).send('');
          return reply.type('application/x-pem-file').send(this.topics.signer.certificate(file));
        });
        // What opening a SubscribeURL does. A seller's program must never come here (contract aws §4.2).
        scope.get<{ Querystring: Record<string, string> }>('/', { config: { operation: 'subscribeUrl' } }, (request, reply) => {
          const { TopicArn = '', Token = '' } = request.query;
          return reply.code(this.topics.confirm(TopicArn, Token) ? 200 : 400).send('');
        });
      },
    });
    app.get<{ Params: { file: string } }>('/aws/elsewhere/:file', (request, reply) =>
      reply.type('application/x-pem-file').send(this.topics.signer.certificate(request.params.file)),
    );
  }
}
