/** A buyer's own storage client: the real SDK, and a count of every body byte that it was sent. */
import {
  BlobServiceClient,
  BaseRequestPolicy,
  newPipeline,
  StorageSharedKeyCredential,
  type RequestPolicy,
  type RequestPolicyOptions,
  type WebResource,
} from '@azure/storage-blob';

type Answer = Awaited<ReturnType<RequestPolicy['sendRequest']>>;

export interface Access {
  url: string;
  accountName: string;
  key: string;
}

/** Blocks of this size; larger blobs go out in parts, as a real client's do. */
const BLOCK_BYTES = 2 * 1024 * 1024;

export class Storage {
  /** Body bytes of all answers to requests that were allowed. */
  egressBytes = 0n;
  /** What lies in this account now, by what we wrote. */
  storedBytes = 0n;
  private readonly service: BlobServiceClient;

  constructor(readonly access: Access) {
    const credential = new StorageSharedKeyCredential(access.accountName, access.key);
    // One try: a hidden repetition would be counted by the seller and not by us.
    const pipeline = newPipeline(credential, { retryOptions: { maxTries: 1, tryTimeoutInMs: 60_000 } });
    pipeline.factories.push({
      create: (next, options) => new CountingPolicy(next, options, (bytes) => (this.egressBytes += BigInt(bytes))),
    });
    this.service = new BlobServiceClient(access.url, pipeline);
  }

  async makeContainer(container: string): Promise<void> {
    await this.service.getContainerClient(container).create();
  }

  async write(container: string, blob: string, content: Buffer, whole = false): Promise<void> {
    const client = this.service.getContainerClient(container).getBlockBlobClient(blob);
    await client.uploadData(
      content,
      whole ? { maxSingleShotSize: 256 * 1024 * 1024 } : { maxSingleShotSize: BLOCK_BYTES / 2, blockSize: BLOCK_BYTES, concurrency: 4 },
    );
    this.storedBytes += BigInt(content.length);
  }

  async read(container: string, blob: string): Promise<Buffer> {
    return this.service.getContainerClient(container).getBlockBlobClient(blob).downloadToBuffer();
  }

  /** Asks for a blob's properties only. */
  async look(container: string, blob: string): Promise<void> {
    await this.service.getContainerClient(container).getBlockBlobClient(blob).getProperties();
  }

  async names(container: string): Promise<string[]> {
    const names: string[] = [];
    for await (const one of this.service.getContainerClient(container).listBlobsFlat()) names.push(one.name);
    return names;
  }

  async remove(container: string, blob: string, bytes: number): Promise<void> {
    await this.service.getContainerClient(container).deleteBlob(blob);
    this.storedBytes -= BigInt(bytes);
  }
}

/** Status and storage error code of a call that is meant to be refused. */
export async function refusalOf(work: Promise<unknown>): Promise<{ status: number; code: string }> {
  try {
    await work;
    return { status: 200, code: '' };
  } catch (error) {
    const e = error as { statusCode?: number; code?: string; details?: { errorCode?: string }; message?: string };
    if (e.statusCode === undefined) throw error;
    return { status: e.statusCode, code: e.details?.errorCode ?? e.code ?? '' };
  }
}

/**
 * The SDK's own place for such things. A refusal is the gate's answer, not the buyer's data, and is not counted; a HEAD's
 * Content-Length speaks of a body that is not sent.
 */
class CountingPolicy extends BaseRequestPolicy {
  constructor(
    next: RequestPolicy,
    options: RequestPolicyOptions,
    private readonly count: (bytes: number) => void,
  ) {
    super(next, options);
  }

  async sendRequest(request: WebResource): Promise<Answer> {
    const answer = await this._nextPolicy.sendRequest(request);
    if (request.method !== 'HEAD' && answer.status < 300) {
      const length = answer.headers.get('content-length');
      this.count(length === undefined ? Buffer.byteLength(answer.bodyAsText ?? '', 'utf8') : Number(length));
    }
    return answer;
  }
}
