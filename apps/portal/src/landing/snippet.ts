import type { LandingEndpoint } from '../api/client.js';

/** A whole program: it stores a file and reads it back. The key comes from the environment, so that it stays out of source control. */
export function storageSnippet(endpoint: LandingEndpoint): string {
  return `// npm install @azure/storage-blob
// STORAGE_KEY='…' node first-file.mjs
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';

const service = new BlobServiceClient(
  ${JSON.stringify(endpoint.url)},
  new StorageSharedKeyCredential(${JSON.stringify(endpoint.accountName)}, process.env.STORAGE_KEY),
);

const container = service.getContainerClient('first-files');
await container.createIfNotExists();

const file = container.getBlockBlobClient('hello.txt');
const text = 'Hello from my new storage';
await file.upload(text, Buffer.byteLength(text));

console.log((await file.downloadToBuffer()).toString());
`;
}
