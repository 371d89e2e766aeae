import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { DescribeAgreementCommand } from '@aws-sdk/client-marketplace-agreement';
import { GetEntitlementsCommand } from '@aws-sdk/client-marketplace-entitlement-service';
import { GuardedHttp, OffsetClock } from '#platform';
import { AwsApi, failureOf } from './api.js';
import { createAwsAdapter } from './aws-adapter.js';
import { AwsClients } from './clients.js';
import { awsHosts } from './hosts.js';
import { awsSettingsSchema } from './settings.js';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serve(status: number, headers: Record<string, string>, text: string) {
  const seen: { url?: string; body: string }[] = [];
  const server = createServer((request, reply) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      seen.push({ url: request.url, body });
      reply.writeHead(status, headers).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => (server.closeAllConnections(), server.close()));
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}
const guarded = (allow: string[]): GuardedHttp => {
  const http = new GuardedHttp({ allow });
  closing.push(() => http.close());
  return http;
};
const settingsFor = (host: string) =>
  awsSettingsSchema.parse({
    productCodes: ['p'],
    region: 'us-east-1',
    webhookSecret: 'a-secret-of-the-test',
    endpoint: `http://${host}/aws/metering`,
    entitlementEndpoint: `http://${host}/aws/entitlement`,
    sqsEndpoint: `http://${host}/aws/sqs`,
    sns: { topics: ['arn:aws:sns:us-east-1:287250355862:t'], endpoint: `http://${host}/aws/sns` },
    queues: [`http://${host}/999900001111/q`],
    contractProducts: { p: {} },
    credentials: { accessKeyId: 'k', secretAccessKey: 's' },
  });

describe('calls of the SDK', () => {
  it('go through the guarded client, with the path of the endpoint [AW-35]', async () => {
    const { host, seen } = await serve(200, { 'content-type': 'application/x-amz-json-1.1' }, '{"ProductCode":"p"}');
    const api = new AwsApi(settingsFor(host), new AwsClients(settingsFor(host), guarded([host])));
    expect(await api.resolveCustomer('tökén')).toMatchObject({ ProductCode: 'p' });
    expect(seen).toEqual([{ url: '/aws/metering/', body: '{"RegistrationToken":"tökén"}' }]);
  });

  it('to a host off the list are refused with no socket opened, whatever the service [AW-35]', async () => {
    const { host, seen } = await serve(200, {}, '{}');
    const settings = settingsFor(host);
    const clients = new AwsClients(settings, guarded(['elsewhere.example']));
    const error = await new AwsApi(settings, clients).resolveCustomer('t').catch((e: unknown) => e);
    expect(failureOf(error)).toMatchObject({ sort: 'us', name: 'HostNotAllowed' });
    for (const call of [
      clients.entitlement().config.requestHandler,
      clients.sns('us-east-1').config.requestHandler,
      clients.sqs('us-east-1').config.requestHandler,
    ])
      await expect(
        call.handle({
          method: 'POST',
          protocol: 'http:',
          hostname: '127.0.0.1',
          port: Number(host.split(':')[1]),
          path: '/',
          headers: {},
        } as never),
      ).rejects.toMatchObject({ code: 'http.not_allowed' });
    const adapter = createAwsAdapter(settings as never, { clock: new OffsetClock(), http: guarded([]) });
    expect(await adapter.resolveLanding({ 'x-amzn-marketplace-token': 'abc' })).toMatchObject({ code: 'landing.unavailable' });
    expect(seen).toEqual([]);
  });

  it('follow no redirect [AW-35]', async () => {
    const other = await serve(200, {}, '{"ProductCode":"p"}');
    const { host } = await serve(307, { location: `http://${other.host}/` }, '');
    const settings = settingsFor(host);
    await expect(new AwsApi(settings, new AwsClients(settings, guarded([host, other.host]))).resolveCustomer('t')).rejects.toThrow();
    expect(other.seen).toEqual([]);
  });

  it('need exactly the hosts that the settings name', () => {
    expect(awsHosts(settingsFor('127.0.0.1:4010'))).toEqual(['127.0.0.1:4010']);
    const real = awsSettingsSchema.parse({
      productCodes: ['p'],
      region: 'eu-west-1',
      webhookSecret: 'a-secret-of-the-test',
      sns: { topics: ['arn:aws:sns:us-east-1:287250355862:t'] },
      queues: ['https://sqs.us-east-1.amazonaws.com/999900001111/q'],
      contractProducts: { p: {} },
      role: { arn: 'arn:aws:iam::999900001111:role/seller' },
    });
    expect(awsHosts(real).sort()).toEqual([
      'entitlement.marketplace.us-east-1.amazonaws.com',
      'metering.marketplace.eu-west-1.amazonaws.com',
      'sns.us-east-1.amazonaws.com',
      'sqs.us-east-1.amazonaws.com',
      'sts.eu-west-1.amazonaws.com',
    ]);
  });

  it.each([
    ['us-east-1', 'metering.marketplace.us-east-1.amazonaws.com'],
    ['cn-northwest-1', 'metering.marketplace.cn-northwest-1.amazonaws.com.cn'],
    ['eusc-de-east-1', 'metering-marketplace.eusc-de-east-1.amazonaws.eu'],
  ])('go to a host of the list in every partition (%s) [AW-128]', async (region, host) => {
    const settings = awsSettingsSchema.parse({
      productCodes: ['p'],
      region,
      webhookSecret: 'a-secret-of-the-test',
      contractProducts: { p: {} },
      agreements: { productIds: {} },
      credentials: { accessKeyId: 'k', secretAccessKey: 's' },
    });
    const asked: string[] = [];
    const request = ({ url }: { url: string }) => (asked.push(new URL(url).host), Promise.reject(new Error('far enough')));
    const clients = new AwsClients(settings, { request } as unknown as GuardedHttp);
    await expect(new AwsApi(settings, clients).batchMeterUsage([])).rejects.toThrow();
    await expect(clients.entitlement().send(new GetEntitlementsCommand({ ProductCode: 'p' }))).rejects.toThrow();
    await expect(clients.agreement().send(new DescribeAgreementCommand({ agreementId: 'agmt-x' }))).rejects.toThrow();
    expect(asked[0]).toBe(host);
    expect(awsHosts(settings).sort()).toEqual(asked.sort());
  });
});
