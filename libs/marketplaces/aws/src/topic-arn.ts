const TOPIC = /^arn:aws[a-z-]*:sns:([a-z]{2,6}(?:-[a-z]+)+-\d):(\d{12}):([A-Za-z0-9_-]{1,256}(?:\.fifo)?)$/;

/** The region that a topic's ARN names; null where it is no ARN of a topic. */
export const topicRegionOf = (arn: string): string | null => TOPIC.exec(arn)?.[1] ?? null;
