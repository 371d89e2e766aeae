import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { loadPackageDefinition, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** Packages with an `exports` map hide their package.json: resolve the entry and walk up (contract gcp §6, pitfall 1). */
function protosOf(entry: string): string {
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, 'build/protos');
    if (existsSync(candidate)) return candidate;
  }
  throw new Error(`no protos above ${entry}`);
}

interface Loaded {
  google: { pubsub: { v1: Record<'Publisher' | 'Subscriber', { service: ServiceDefinition }> } };
}

export function pubsubServices(): { publisher: ServiceDefinition; subscriber: ServiceDefinition } {
  const client = createRequire(import.meta.url).resolve('@google-cloud/pubsub');
  const gax = createRequire(client).resolve('google-gax');
  const definition = loadSync('google/pubsub/v1/pubsub.proto', {
    keepCase: true,
    longs: String,
    enums: String,
    oneofs: true,
    defaults: true,
    includeDirs: [protosOf(client), protosOf(gax)],
  });
  const { Publisher, Subscriber } = (loadPackageDefinition(definition) as unknown as Loaded).google.pubsub.v1;
  return { publisher: Publisher.service, subscriber: Subscriber.service };
}
