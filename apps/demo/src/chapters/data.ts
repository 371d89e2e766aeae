import type { Purchase } from '../buyers/buyer.js';
import { refusalOf, Storage } from '../support/storage.js';
import type { World } from '../world.js';
import { ORDERS } from './buy.js';

export const CONTAINER = 'archive';
const MIB = 1024 * 1024;
const FORBIDDEN = ['AuthorizationFailure', 'AuthenticationFailed'];

export async function useStorage(w: World): Promise<void> {
  const { report } = w;
  report.chapter('Real data through the real SDK');
  const tidewater = w.purchase(ORDERS.tidewater.label);
  const meridian = w.purchase(ORDERS.meridian.label);
  await writeAndReadBack(w, tidewater, 12, 4 * MIB);
  await writeAndReadBack(w, meridian, 6, 2 * MIB + 12_345);
  for (const purchase of w.purchases) if (purchase !== tidewater && purchase !== meridian) await writeAndReadBack(w, purchase, 4, 3 * MIB);
  await foreignKey(w, tidewater, meridian);
  await overQuota(w, tidewater);
}

export async function writeAndReadBack(w: World, purchase: Purchase, count: number, bytes: number): Promise<void> {
  const { storage, blobs } = purchase;
  await storage.makeContainer(CONTAINER);
  for (let i = 1; i <= count; i += 1) {
    const name = `part-${String(i).padStart(2, '0')}.bin`;
    await storage.write(CONTAINER, name, content(w, purchase, name, bytes));
    blobs.set(name, bytes);
  }
  const listed = await storage.names(CONTAINER);
  w.report.equal(`${purchase.label}: blobs in the container`, listed.length, count);
  let same = 0;
  for (const name of blobs.keys()) if (await readsTrue(w, purchase, name)) same += 1;
  w.report.expect(
    `${purchase.label}: every blob reads back as it was written`,
    same === count,
    `${same} of ${count}, ${mib(storage.storedBytes)} MiB written`,
  );
  w.report.fact(`${purchase.label} received ${storage.egressBytes} bytes of answers so far`);
}

/** Some reading, as buyers do: seeded picks from what is there. */
export async function readSome(w: World, purchase: Purchase, count: number): Promise<void> {
  const names = [...purchase.blobs.keys()];
  for (let i = 0; i < count; i += 1) {
    const name = w.random.pick(names);
    if (!(await readsTrue(w, purchase, name))) throw new Error(`${purchase.label}: ${name} is not what was written`);
  }
}

const content = (w: World, purchase: Purchase, name: string, bytes: number): Buffer => w.random.bytes(`${purchase.label}/${name}`, bytes);

async function readsTrue(w: World, purchase: Purchase, name: string): Promise<boolean> {
  return (await purchase.storage.read(CONTAINER, name)).equals(content(w, purchase, name, purchase.blobs.get(name)!));
}

async function foreignKey(w: World, owner: Purchase, other: Purchase): Promise<void> {
  const thief = new Storage({ ...owner.storage.access, key: other.storage.access.key });
  const [name] = owner.blobs.keys();
  for (const [what, work] of [
    ['read', () => thief.read(CONTAINER, name!)],
    ['write', () => thief.write(CONTAINER, 'planted.bin', Buffer.from('x'))],
  ] as const) {
    const { status, code } = await refusalOf(work());
    w.report.expect(
      `${other.label}'s key cannot ${what} in ${owner.label}'s account`,
      status === 403 && FORBIDDEN.includes(code),
      `${status} ${code}`,
    );
  }
  const elsewhere = new Storage({ ...owner.storage.access, accountName: other.storage.access.accountName, key: other.storage.access.key });
  const { status, code } = await refusalOf(elsewhere.read(CONTAINER, name!));
  w.report.expect("nor does it when it signs with its own account's name", status === 403 && FORBIDDEN.includes(code), `${status} ${code}`);
}

/** The write that the standard plan has no room for; the premium plan takes it later in the story. */
export const LARGE = { name: 'large.bin', bytes: 84 * MIB };

async function overQuota(w: World, purchase: Purchase): Promise<void> {
  const limit = await storageLimit(w, purchase);
  const { storage } = purchase;
  w.report.fact(`${purchase.label}'s quota is ${mib(limit)} MiB; ${mib(storage.storedBytes)} MiB are stored`);
  w.report.expect(
    'the next write would exceed it',
    storage.storedBytes + BigInt(LARGE.bytes) > limit,
    `${mib(storage.storedBytes)} + ${mib(LARGE.bytes)} MiB`,
  );
  const { status, code } = await refusalOf(storage.write(CONTAINER, LARGE.name, Buffer.alloc(LARGE.bytes), true));
  w.report.expect('a write over the quota is refused', status === 409 && code === 'QuotaExceeded', `${status} ${code}`);
  w.report.expect('reads still work', await readsTrue(w, purchase, [...purchase.blobs.keys()][0]!));
  await storage.write(CONTAINER, 'small.bin', Buffer.from('small'));
  await storage.remove(CONTAINER, 'small.bin', 5);
  w.report.expect('a write within it still works', true);
}

/** The limit in force, from the API. */
export async function storageLimit(w: World, purchase: Purchase): Promise<bigint> {
  const mine = (await w.controlPlane.quotas()).filter(
    (q) => q.subscriptionId === purchase.subscriptionId && q.name === 'storage_bytes' && q.endsAt === null,
  );
  if (mine.length !== 1) throw new Error(`${purchase.label} has ${mine.length} storage quotas in force`);
  return BigInt(mine[0]!.hardLimit);
}

export function mib(bytes: bigint | number): string {
  const tenths = (BigInt(bytes) * 10n) / BigInt(MIB);
  return tenths % 10n === 0n ? `${tenths / 10n}` : `${tenths / 10n}.${tenths % 10n}`;
}
