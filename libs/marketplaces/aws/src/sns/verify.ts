import { createVerify } from 'node:crypto';
import type { InboundRequest, InboundVerdict } from '#marketplaces/core';
import { topicRegionOf } from '../topic-arn.js';
import { CertificateRefused, type SnsCertificates } from './certificates.js';
import { signedTextOf, snsMessageOf } from './message.js';

export const SNS_SOURCE = 'aws.sns';
/** SNS sends it with every message over HTTP; it only chooses the verifier. */
export const SNS_HEADER = 'x-amz-sns-message-type';

const ALGORITHMS: Record<string, string> = { '1': 'RSA-SHA1', '2': 'RSA-SHA256' };
const BASE64 = /^[A-Za-z0-9+/]{40,1400}={0,2}$/;

type Refused = Extract<InboundVerdict, { ok: false }>;
const refused = (status: Refused['status'], code: string, detail: string): Refused => ({ ok: false, status, code, detail });

/**
 * Our own verifier (stack.md §5.2). The order matters: nothing is fetched for a topic that is not ours. No age is asked for: SNS
 * repeats with the old time stamp; a replay meets the MessageId in the inbox. Throws `MarketplaceBusy` where the certificate cannot
 * be had just now.
 */
export async function verifySns(
  request: InboundRequest,
  topics: readonly string[],
  certificates: SnsCertificates,
): Promise<InboundVerdict> {
  const message = snsMessageOf(request.body);
  if (!message) return refused(400, 'aws.body_not_sns', 'the body is no signed message of SNS');
  const region = topics.includes(message.topicArn) ? topicRegionOf(message.topicArn) : null;
  if (!region) return refused(403, 'aws.sns_topic_not_for_us', `messages of the topic ${message.topicArn.slice(0, 200)} are not for us`);
  const algorithm = ALGORITHMS[message.signatureVersion];
  if (!algorithm) return refused(403, 'aws.sns_signature_version', 'the signature is of no version that is known');
  try {
    const certificate = await certificates.get(message.signingCertUrl, region);
    const isGenuine =
      certificate.publicKey.asymmetricKeyType === 'rsa' &&
      BASE64.test(message.signature) &&
      createVerify(algorithm).update(signedTextOf(message), 'utf8').verify(certificate.publicKey, message.signature, 'base64');
    if (!isGenuine) return refused(403, 'aws.sns_signature', 'the signature is not of this message');
  } catch (error) {
    if (error instanceof CertificateRefused) return refused(403, error.code, error.message);
    throw error;
  }
  return {
    ok: true,
    source: SNS_SOURCE,
    naturalKey: message.messageId,
    principal: `sns:${message.topicArn}`,
    decisionWanted: false,
    externalSubscriptionId: null,
  };
}
