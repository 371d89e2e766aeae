/** Whether a cluster has room for one more placement: by number, bytes, and slots for identity providers. */
import { ProblemError } from '#platform';
import type { IdentityKind, ShapeCapability } from '#provisioning/core';

/** What a placement needs of the cluster it comes to. */
export interface PlacementWish {
  readonly region: string;
  readonly shape: string;
  /** A cluster of its own, which nobody else comes to. */
  readonly dedicated: boolean;
  /** Providers that its tenant binds on the data path; each takes a slot of its kind. */
  readonly identity: readonly IdentityKind[];
  /** Bytes that are set aside for it; null is unlimited, and takes all that a cluster has. */
  readonly hardQuotaBytes: bigint | null;
}

/** What is taken of a cluster. */
export interface Taken {
  /** Placements that are not purged: kept data takes room too. */
  readonly occupied: number;
  /** Made for one placement alone. */
  readonly dedicated: boolean;
  /** What it has after a resize, decimal text; null is what its shape has. */
  readonly capacityBytes: string | null;
  /** Bytes set aside for the placements on it; null: one of them is unlimited. */
  readonly reservedBytes: bigint | null;
  readonly identityTaken: Readonly<Partial<Record<IdentityKind, number>>>;
}

/** What no cluster of the shape could ever take is refused before any cost, by the name of what is missing. */
export function assertEverFits(wish: PlacementWish, shape: ShapeCapability, overcommitPercent: number): void {
  const missing = Object.entries(countOf(wish.identity)).filter(([kind, n]) => n > (shape.identitySlots?.[kind as IdentityKind] ?? 0));
  if (missing.length > 0)
    throw new ProblemError(
      'unprocessable',
      'placement.identity_unsupported',
      `A cluster of the shape "${wish.shape}" has no room for identity providers of this kind: ${missing.map(([kind]) => kind).join(', ')}.`,
    );
  const most = roomOf(shape.capacityBytes ?? null, overcommitPercent);
  if (most !== null && wish.hardQuotaBytes !== null && wish.hardQuotaBytes > most)
    throw new ProblemError(
      'unprocessable',
      'placement.larger_than_shape',
      `The shape "${wish.shape}" has ${most} bytes to set aside, and ${wish.hardQuotaBytes} are asked for.`,
    );
}

/** Whether it may be given away, whether the bytes are there, and whether every provider finds a slot. */
export function hasRoom(c: Taken, wish: PlacementWish, shape: ShapeCapability, overcommitPercent: number): boolean {
  if (c.dedicated !== wish.dedicated || (wish.dedicated && c.occupied > 0)) return false;
  const room = roomOf(c.capacityBytes ?? shape.capacityBytes ?? null, overcommitPercent);
  const bytes =
    room === null ||
    (wish.hardQuotaBytes === null ? c.occupied === 0 : c.reservedBytes !== null && c.reservedBytes + wish.hardQuotaBytes <= room);
  return (
    bytes &&
    Object.entries(countOf(wish.identity)).every(
      ([kind, n]) => (c.identityTaken[kind as IdentityKind] ?? 0) + n <= (shape.identitySlots?.[kind as IdentityKind] ?? 0),
    )
  );
}

/**
 * What a cluster would lack of what is on it, were it this shape with this capacity; null where all of it keeps its place. What has no
 * limit is not counted.
 */
export function lackingAt(c: Taken, shape: ShapeCapability, capacityBytes: string | null, overcommitPercent: number): string | null {
  const room = roomOf(capacityBytes ?? shape.capacityBytes ?? null, overcommitPercent);
  if (room !== null && c.reservedBytes !== null && c.reservedBytes > room)
    return `${c.reservedBytes} bytes are set aside for its placements, and it would have ${room}`;
  const kinds = Object.entries(c.identityTaken).flatMap(([kind, n]) =>
    n > (shape.identitySlots?.[kind as IdentityKind] ?? 0) ? [kind] : [],
  );
  return kinds.length > 0 ? `its placements bind more identity providers than it would have slots for: ${kinds.join(', ')}` : null;
}

/** The most that one placement with these bytes may have set aside where it is; null: there is no bound. */
export function mostFor(c: Taken, own: bigint | null, shape: ShapeCapability, overcommitPercent: number): bigint | null {
  const room = roomOf(c.capacityBytes ?? shape.capacityBytes ?? null, overcommitPercent);
  if (room === null) return null;
  // Where one is unlimited the cluster is taken whole: by itself, if it is alone.
  if (c.reservedBytes === null || own === null) return c.occupied <= 1 ? room : 0n;
  const others = c.reservedBytes - own;
  return room > others ? room - others : 0n;
}

const roomOf = (capacityBytes: string | null, overcommitPercent: number): bigint | null =>
  capacityBytes === null ? null : (BigInt(capacityBytes) * BigInt(overcommitPercent)) / 100n;

function countOf(kinds: readonly IdentityKind[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
