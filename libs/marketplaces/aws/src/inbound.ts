import { createHash, timingSafeEqual } from 'node:crypto';
import type { InboundRequest, InboundVerdict } from '#marketplaces/core';
import { type Envelope, envelopeOf } from './envelope.js';
import type { SnsCertificates } from './sns/certificates.js';
import { snsMessageOf } from './sns/message.js';
import { SNS_HEADER, verifySns } from './sns/verify.js';
import { type AwsSettings, SECRET_HEADER } from './settings.js';

export const EVENTBRIDGE_SOURCE = 'aws.eventbridge';
const MAX_BODY = 256 * 1024;

type Refused = Extract<InboundVerdict, { ok: false }>;
const refused = (status: Refused['status'], code: string, detail: string): Refused => ({ ok: false, status, code, detail });
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** SNS says so in a header; the rest is an event of the API destination. Each is verified by its own means. */
export async function verifyInbound(
  request: InboundRequest,
  settings: AwsSettings,
  certificates: SnsCertificates | null,
): Promise<InboundVerdict> {
  if (Buffer.byteLength(request.body, 'utf8') > MAX_BODY) return refused(413, 'aws.body_too_large', `a message may have ${MAX_BODY} bytes`);
  if (!Object.keys(request.headers).some((name) => name.toLowerCase() === SNS_HEADER)) return verifyEvent(request, settings);
  if (!settings.sns || !certificates) return refused(403, 'aws.sns_not_configured', 'no topic of SNS is ours');
  const verdict = await verifySns(request, settings.sns.topics, certificates);
  // A topic of ours may carry events of a bus: they are held to the same sources as over the API destination and the queue.
  const event = verdict.ok ? envelopeOf(snsMessageOf(request.body)?.message ?? '') : null;
  return event ? (ofForeignSource(event, settings) ?? verdict) : verdict;
}

const ofForeignSource = (event: Envelope, { eventSources }: AwsSettings): Refused | null =>
  eventSources.includes(event.source)
    ? null
    : refused(403, 'aws.source_not_for_us', `events of ${event.source.slice(0, 100)} are not for us`);

/** An event of an API destination. EventBridge comes again after a 401, so a changed secret loses nothing for 24 h. */
function verifyEvent(request: InboundRequest, settings: AwsSettings): InboundVerdict {
  const given = Object.entries(request.headers).find(([name]) => name.toLowerCase() === SECRET_HEADER)?.[1] ?? '';
  // Digests have one length, so neither length nor content shows in the time.
  if (!timingSafeEqual(digest(given), digest(settings.webhookSecret)))
    return refused(401, 'aws.secret_wrong', `the header ${SECRET_HEADER} does not hold the secret of the API destination`);
  const event = envelopeOf(request.body);
  // EventBridge drops what was answered 4xx; what came broken shall come again (contract aws §4.1).
  if (!isJson(request.body)) return refused(503, 'aws.body_not_json', 'the body is not JSON; send it again');
  if (!event) return refused(400, 'aws.body_not_event', 'the body is no EventBridge event with id, source and detail-type');
  const foreign = ofForeignSource(event, settings);
  if (foreign) return foreign;
  return {
    ok: true,
    source: EVENTBRIDGE_SOURCE,
    // A second event of the same request (contract aws §4.3) has an id of its own; applying it again changes nothing.
    naturalKey: event.id,
    principal: `eventbridge:${event.source}`,
    decisionWanted: false,
    externalSubscriptionId: event.licenseId,
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
