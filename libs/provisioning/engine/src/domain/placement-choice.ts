import { randomBytes, randomInt } from 'node:crypto';
import { ProblemError } from '#platform';
import type { ClusterSpec, DriverCapabilities } from '#provisioning/core';
import { assertEverFits, hasRoom, type PlacementWish, type Taken } from './cluster-room.js';
import type { ClusterPhase } from './cluster-states.js';

/** An operator's rules for where placements go. */
export interface PlacementPolicy {
  /** Placements on one shared cell, at most; the driver's own limit counts too. */
  readonly cellCapacity: number;
  /** Clusters of one region and shape, at most; null is no limit. 0 is the switch "stop creating". */
  readonly maxClusters: number | null;
  /** Bytes that may be set aside for placements, in hundredths of what a cluster has: 100 is no more than there is. */
  readonly overcommitPercent: number;
  /** Which driver builds a shape that several offer; a shape that is not named goes to the first that offers it. */
  readonly shapeDrivers: Readonly<Record<string, string>>;
}

export const DEFAULT_PLACEMENT_POLICY: PlacementPolicy = { cellCapacity: 8, maxClusters: null, overcommitPercent: 100, shapeDrivers: {} };

export interface ClusterRoom extends Taken {
  readonly clusterId: string;
  readonly name: string;
  readonly driver: string;
  readonly region: string;
  readonly shape: string;
  readonly phase: ClusterPhase;
  /** An operator wants no more placements on it. */
  readonly cordoned: boolean;
}

export type PlacementChoice = { readonly use: string } | { readonly create: { readonly driver: string; readonly spec: ClusterSpec } };

const NO_ROOM: readonly ClusterPhase[] = ['failed', 'retiring', 'retired'];

/** Which driver builds it: what no driver offers is refused before any cost (contract provisioning §3.4). */
export function offerOf(
  wish: { readonly region: string; readonly shape: string },
  offers: readonly DriverCapabilities[],
  policy: Pick<PlacementPolicy, 'shapeDrivers'>,
): DriverCapabilities {
  const driver = policy.shapeDrivers[wish.shape];
  const shaped = offers.filter((o) => o.shapes.some((s) => s.name === wish.shape) && (driver === undefined || o.driver === driver));
  if (shaped.length === 0)
    throw new ProblemError('unprocessable', 'placement.shape_unknown', `No driver offers the shape "${wish.shape}".`);
  const offer = shaped.find((o) => o.regions.includes(wish.region));
  if (!offer)
    throw new ProblemError(
      'unprocessable',
      'placement.region_unknown',
      `The shape "${wish.shape}" is not offered in region "${wish.region}".`,
    );
  return offer;
}

export function choosePlacement(
  wish: PlacementWish,
  offers: readonly DriverCapabilities[],
  clusters: readonly ClusterRoom[],
  policy: PlacementPolicy,
): PlacementChoice {
  const offer = offerOf(wish, offers, policy);
  const shape = offer.shapes.find((s) => s.name === wish.shape)!;
  assertEverFits(wish, shape, policy.overcommitPercent);
  const here = clusters.filter((c) => c.driver === offer.driver && c.region === wish.region && c.shape === wish.shape);
  const capacity = Math.min(policy.cellCapacity, offer.maxPlacements ?? Infinity);
  // The fullest first: cells are filled up before a new one costs money. A failed cluster waits for a person, one that goes takes nobody.
  const [best] = here
    .filter((c) => !c.cordoned && !NO_ROOM.includes(c.phase) && c.occupied < capacity && hasRoom(c, wish, shape, policy.overcommitPercent))
    .sort((a, b) => b.occupied - a.occupied || (a.name < b.name ? -1 : 1));
  if (best) return { use: best.clusterId };
  if (policy.maxClusters !== null && here.length >= policy.maxClusters)
    throw new ProblemError(
      'unavailable',
      'placement.no_capacity',
      `No room for another placement of shape "${wish.shape}" in region "${wish.region}".`,
    );

  return {
    create: {
      driver: offer.driver,
      spec: { region: wish.region, shape: wish.shape, nodes: shape.minNodes, version: null, capacityBytes: null, labels: {} },
    },
  };
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Random, not derived from the tenant: an account name is public and shall tell nothing. */
export function newAccountName(): string {
  return 'b' + Array.from({ length: 19 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}

/** A cluster's name, by which drivers know it. */
export function newClusterName(region: string): string {
  const place = region
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 30);
  return ['cell', place, randomBytes(4).toString('hex')].filter(Boolean).join('-');
}

/** 64 random bytes, the form of an Azure storage key. */
export const newKeySecret = (): string => randomBytes(64).toString('base64');
