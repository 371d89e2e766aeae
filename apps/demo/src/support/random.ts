import { createCipheriv, createHash } from 'node:crypto';

/** Everything that is "random" in a run follows from its seed. */
export class Seeded {
  private drawn = 0;

  constructor(private readonly seed: number) {}

  /** A whole number in [from, to]. */
  between(from: number, to: number): number {
    const hash = createHash('sha256').update(`${this.seed}:${this.drawn++}`).digest();
    return from + (hash.readUInt32BE(0) % (to - from + 1));
  }

  pick<T>(values: readonly T[]): T {
    return values[this.between(0, values.length - 1)]!;
  }

  bytes(name: string, length: number): Buffer {
    const key = createHash('sha256').update(`${this.seed}:bytes:${name}`).digest();
    return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
  }
}
