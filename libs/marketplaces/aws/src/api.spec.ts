import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { UsageWireItem } from '#marketplaces/core';
import { GuardedHttp, OffsetClock } from '#platform';
import { type AwsAdapter, createAwsAdapter, TOKEN_FIELD } from './index.js';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** The adapter with the real SDK at a service that has one answer for everything. */
async function answered(status: number, type: string, message: string): Promise<AwsAdapter> {
  const server = createServer((request, reply) => {
    request.resume().on('end', () => {
      reply.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify({ __type: type, message }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const http = new GuardedHttp({ allow: [host] });
  closing.push(
    () => http.close(),
    () => (server.closeAllConnections(), server.close()),
  );
  const settings = {
    productCodes: ['p'],
    region: 'us-east-1',
    endpoint: `http://${host}`,
    webhookSecret: 'a-secret-of-the-test',
    credentials: { accessKeyId: 'k', secretAccessKey: 's' },
  };
  return createAwsAdapter(settings, { clock: new OffsetClock(), http });
}

const SESSION = 'The security token included in the request is expired';
const REGISTRATION = 'The submitted registration token has expired.';
const item = (itemId: string): UsageWireItem => ({
  itemId,
  wireKey: itemId,
  body: '{"Timestamp":1795168800,"CustomerAWSAccountId":"111122223333","LicenseArn":"arn:aws:license-manager::1:license:l-0123456789abcdef0","Dimension":"d","Quantity":1}',
  route: { productCode: 'p', region: 'us-east-1', month: '2026-11' },
});

describe('an expired token', () => {
  it('of our own session is about us, so no record is refused for it [AW-120]', async () => {
    for (const [status, type] of [
      [400, 'ExpiredTokenException'],
      [403, 'ExpiredTokenException'],
      [400, 'ExpiredToken'],
    ] as const) {
      const aws = await answered(status, type, SESSION);
      // 403 makes the submitter wait and tell a person; a 400 would be halved down to every record and lost.
      await expect(aws.submitUsage([item('a'), item('b')]), `${status} ${type}`).rejects.toMatchObject({ httpStatus: 403 });
    }
  });

  it('of our own session does not send the buyer back to the marketplace [AW-120]', async () => {
    for (const [status, message] of [
      [400, SESSION],
      [403, 'expired'],
    ] as const)
      expect(await (await answered(status, 'ExpiredTokenException', message)).resolveLanding({ [TOKEN_FIELD]: 't' })).toMatchObject({
        code: 'landing.unavailable',
      });
  });

  it('of the registration is told to the buyer [AW-120]', async () => {
    for (const message of [REGISTRATION, '', 'The buyer has resubmitted the token.'])
      expect(await (await answered(400, 'ExpiredTokenException', message)).resolveLanding({ [TOKEN_FIELD]: 't' })).toMatchObject({
        code: 'landing.token_expired',
      });
  });

  it('of our own session is named by the doctor [AW-120]', async () => {
    const checks = await (await answered(400, 'ExpiredTokenException', SESSION)).doctor();
    for (const check of ['aws.metering', 'aws.resolve'])
      expect(checks.find((one) => one.check === check)).toMatchObject({
        result: 'fail',
        remedy: expect.stringContaining('have run out') as string,
      });
  });
});
