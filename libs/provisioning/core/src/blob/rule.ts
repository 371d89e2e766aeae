/** What a rule is made of, and how its end becomes a verdict. */
import { createHash, randomBytes } from 'node:crypto';
import {
  BlobSASPermissions,
  BlobServiceClient,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
  type BlockBlobClient,
  type ContainerClient,
} from '@azure/storage-blob';
import type { EndpointDescription, ProbeAccess, RuleOutcome } from './report.js';
import { NoAnswer, reasonOf, Wire } from './wire.js';

export interface Rule {
  /** Stable; stored with each run. */
  readonly name: string;
  readonly asks: string;
  readonly required: boolean;
  run(at: RuleBench): Promise<void>;
}

/** The endpoint does otherwise than the contract says. */
export class Broken extends Error {}
/** What a rule needs first did not come about: the rule itself is not judged. */
class Unprepared extends Error {}

/** What the endpoint said no to. */
export interface Refusal {
  readonly status: number;
  readonly code: string | null;
}

export class RuleBench {
  readonly wire: Wire;
  readonly container: ContainerClient;
  private readonly credential: StorageSharedKeyCredential;

  constructor(
    private readonly access: ProbeAccess,
    readonly description: EndpointDescription,
    private readonly containerName: string,
    /** Real time; signatures are judged by it. */
    private readonly now: () => Date,
    callTimeoutMs: number,
    private readonly prefix: string,
  ) {
    this.wire = new Wire(callTimeoutMs);
    this.credential = new StorageSharedKeyCredential(access.accountName, access.secretBase64);
    this.container = this.containerOf(this.credential);
  }

  /** A name of this rule alone. */
  blob(name: string): BlockBlobClient {
    return this.container.getBlockBlobClient(`${this.prefix}/${name}`);
  }

  /** With a key that is not the account's. */
  foreign(name: string): BlockBlobClient {
    const stranger = new StorageSharedKeyCredential(this.access.accountName, randomBytes(64).toString('base64'));
    return this.containerOf(stranger).getBlockBlobClient(`${this.prefix}/${name}`);
  }

  absentContainer(): ContainerClient {
    return new BlobServiceClient(this.access.endpoint, this.wire.pipeline(this.credential)).getContainerClient(
      `absent-${randomBytes(6).toString('hex')}`,
    );
  }

  /** A link to one blob; `permissions` as in `rcwd`. A negative life is one that is over. */
  link(name: string, permissions: string, lifeMs = 600_000): string {
    const blobName = `${this.prefix}/${name}`;
    const now = this.now().getTime();
    const sas = generateBlobSASQueryParameters(
      {
        containerName: this.containerName,
        blobName,
        permissions: BlobSASPermissions.parse(permissions),
        protocol: SASProtocol.HttpsAndHttp,
        startsOn: new Date(now - 3_600_000),
        expiresOn: new Date(now + lifeMs),
      },
      this.credential,
    );
    return `${this.blob(name).url}?${sas.toString()}`;
  }

  /** Puts a blob there before the rule begins. */
  async given(name: string, body: Buffer): Promise<BlockBlobClient> {
    const blob = this.blob(name);
    await this.prepare(() => blob.upload(body, body.length));
    return blob;
  }

  async prepare<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (isSilence(error)) throw error;
      throw new Unprepared(`it could not be set up: ${reasonOf(error)}`);
    }
  }

  /** Reads all or a part. */
  async read(blob: BlockBlobClient, offset = 0, count?: number): Promise<Buffer> {
    const answer = await blob.download(offset, count, { maxRetryRequests: 0 });
    return this.drain(answer.readableStreamBody!);
  }

  drain(stream: NodeJS.ReadableStream): Promise<Buffer> {
    const chunks: Buffer[] = [];
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new NoAnswer('the body did not end')), this.wire.callTimeoutMs);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('error', reject);
      stream.once('end', () => resolve(Buffer.concat(chunks)));
      stream.once('error', () => clearTimeout(timer));
      stream.once('end', () => clearTimeout(timer));
    });
  }

  /** The refusal that must come; a success is a broken rule, and so is another refusal. */
  async refused(
    what: string,
    work: () => Promise<unknown>,
    wanted: { status: number | number[]; code?: string | string[] },
  ): Promise<void> {
    let got: Refusal;
    try {
      await work();
      throw new Broken(`${what} was accepted`);
    } catch (error) {
      if (error instanceof Broken || isSilence(error)) throw error;
      got = refusalOf(error);
    }
    const is = <T>(value: T, allowed: T | T[]): boolean => (Array.isArray(allowed) ? allowed.includes(value) : value === allowed);
    const good = is(got.status, wanted.status) && (wanted.code === undefined || is<string | null>(got.code, wanted.code as string));
    if (!good)
      throw new Broken(
        `${what} was answered ${got.status} ${got.code ?? 'without an error code'}, not ${String(wanted.status)} ${String(wanted.code ?? '')}`.trim(),
      );
  }

  expect(held: boolean, otherwise: string): void {
    if (!held) throw new Broken(otherwise);
  }

  private containerOf(credential: StorageSharedKeyCredential): ContainerClient {
    return new BlobServiceClient(this.access.endpoint, this.wire.pipeline(credential)).getContainerClient(this.containerName);
  }
}

export const someBytes = (length: number): Buffer => randomBytes(length);
export const md5Of = (body: Buffer): Buffer => createHash('md5').update(body).digest();

export function refusalOf(error: unknown): Refusal {
  const e = error as {
    statusCode?: number;
    code?: string;
    details?: { errorCode?: string };
    response?: { headers?: { get(n: string): string | undefined } };
  };
  if (e.statusCode === undefined) throw error;
  return { status: e.statusCode, code: e.response?.headers?.get('x-ms-error-code') ?? e.details?.errorCode ?? null };
}

/** Nobody answered: no route, nobody there, or too slow for us. A connection that breaks in the middle is the endpoint's fault. */
const SILENT = ['EPERM', 'EACCES', 'ENETUNREACH', 'EHOSTUNREACH', 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'];
const isSilence = (error: unknown): boolean => {
  const e = error as { name?: string; code?: string; statusCode?: number; cause?: { code?: string } };
  return error instanceof NoAnswer || e.name === 'AbortError' || SILENT.includes(e.code ?? e.cause?.code ?? '');
};

/** The verdict of a rule that did not end well. */
export function verdictOf(error: unknown): { outcome: RuleOutcome; detail: string } {
  if (error instanceof NotOffered) return { outcome: 'not_supported', detail: error.message };
  if (error instanceof Unprepared || error instanceof Unjudged) return { outcome: 'unknown', detail: error.message };
  if (isSilence(error)) return { outcome: 'unknown', detail: `no answer: ${reasonOf(error)}` };
  if (error instanceof Broken) return { outcome: 'fail', detail: error.message };
  const { statusCode } = error as { statusCode?: number };
  if (statusCode === undefined) return { outcome: 'fail', detail: reasonOf(error) };
  const { status, code } = refusalOf(error);
  const said = `it was answered ${status} ${code ?? 'without an error code'}`;
  return status === 501 ? { outcome: 'not_supported', detail: said } : { outcome: 'fail', detail: said };
}

/** The endpoint's description does not offer it. */
export class NotOffered extends Error {}
/** It is offered, and nothing here can try it. */
export class Unjudged extends Error {}
