import { describe, expect, it } from 'vitest';
import { settingsChecks } from './subscription-checks.js';

const SETTINGS = { subscription: 'mp', providerId: 'acme-public', push: null };
const PUSH = { audience: 'https://cp.example/webhooks/gcp/pubsub', serviceAccount: 'push@acme.iam.gserviceaccount.com' };
const good = {
  topic: 'projects/cloudcommerceproc-prod/topics/acme-public',
  ackDeadlineSeconds: 60,
  enableExactlyOnceDelivery: false,
  pushConfig: { pushEndpoint: '', attributes: {} },
  deadLetterPolicy: null,
  expirationPolicy: {},
};
const pushing = (token: Record<string, unknown>): Record<string, unknown> => ({
  ...good,
  pushConfig: { pushEndpoint: 'https://cp.example/webhooks/gcp/pubsub', oidcToken: token },
});
const faults = (metadata: Record<string, unknown>, settings: Parameters<typeof settingsChecks>[1] = SETTINGS): string[] =>
  settingsChecks(metadata, settings)
    .filter((c) => c.result !== 'pass')
    .map((c) => `${c.result} ${c.check.slice(11)}`);

describe('the settings of the Pub/Sub subscription', () => {
  it('that fit are all right, pulled or pushed', () => {
    expect(faults(good)).toEqual([]);
    expect(faults(pushing({ serviceAccountEmail: PUSH.serviceAccount, audience: PUSH.audience }), { ...SETTINGS, push: PUSH })).toEqual([]);
    expect(
      faults(pushing({ serviceAccountEmail: PUSH.serviceAccount }), { ...SETTINGS, push: PUSH }),
      'the endpoint is the audience',
    ).toEqual([]);
  });

  it.each([
    ['a short deadline', { ackDeadlineSeconds: 10 }, 'warn ack_deadline'],
    ['exactly-once delivery', { enableExactlyOnceDelivery: true }, 'warn exactly_once'],
    [
      'a dead-letter policy',
      { deadLetterPolicy: { deadLetterTopic: 'projects/x/topics/dead', maxDeliveryAttempts: 5 } },
      'warn dead_letter',
    ],
    ['an expiry', { expirationPolicy: { ttl: { seconds: '2678400' } } }, 'warn expiration'],
    ['another topic', { topic: 'projects/acme-public/topics/mine' }, 'warn topic'],
    ['a push endpoint while we pull', { pushConfig: { pushEndpoint: 'https://x.example' } }, 'fail delivery'],
  ])('with %s are told with a remedy [GC-43]', (_what, change, fault) => {
    expect(faults({ ...good, ...change })).toEqual([fault]);
    expect(settingsChecks({ ...good, ...change }, SETTINGS).find((c) => c.result !== 'pass')?.remedy).toBeTruthy();
  });

  it.each([
    ['pulled from', good, /is pulled from/],
    ['unsigned', pushing({}), /not signed/],
    [
      'signed by another account',
      pushing({ serviceAccountEmail: 'x@y.iam.gserviceaccount.com', audience: PUSH.audience }),
      /signed by x@y/,
    ],
    ['for another audience', pushing({ serviceAccountEmail: PUSH.serviceAccount, audience: 'https://other.example' }), /other\.example/],
  ])('that are %s fail while we wait for pushes [GC-43]', (_what, metadata, detail) => {
    expect(faults(metadata, { ...SETTINGS, push: PUSH })).toEqual(['fail delivery']);
    expect(settingsChecks(metadata, { ...SETTINGS, push: PUSH })[0]!.detail).toMatch(detail);
  });
});
