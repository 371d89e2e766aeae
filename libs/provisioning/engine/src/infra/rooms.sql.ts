import type { Tx } from '#platform';
import type { IdentityKind } from '#provisioning/core';
import type { Taken } from '../domain/cluster-room.js';
import type { ClusterRoom } from '../domain/placement-choice.js';

interface Row {
  cluster_id: string;
  name: string;
  driver: string;
  region: string;
  shape: string;
  phase: ClusterRoom['phase'];
  cordoned: boolean;
  variant: string;
  capacity: string | null;
  occupied: string;
  reserved: string | null;
  identity: IdentityKind[];
}

/** What is on each cluster that `where` names: whatever is not purged takes room. */
const roomsWhere = async (tx: Tx, where: string, values: unknown[]): Promise<ClusterRoom[]> =>
  (
    await tx.query<Row & Record<string, unknown>>(
      `select c.cluster_id, c.name, c.driver, c.region, c.shape, c.phase, c.cordoned_at is not null as cordoned, c.variant, c.desired ->> 'capacityBytes' as capacity, on_it.*,
              array(select k from placements p, unnest(p.identity) as k where p.cluster_id = c.cluster_id and p.phase <> 'purged') as identity
         from clusters c
         cross join lateral (
           select count(*) as occupied, case when bool_and(q.bytes is not null) is not false then coalesce(sum(q.bytes), 0)::text end as reserved
             from placements p cross join lateral (select (p.desired #>> '{limits,hardQuotaBytes}')::numeric as bytes) q
            where p.cluster_id = c.cluster_id and p.phase <> 'purged') on_it
        where ${where} and c.deleted_at is null`,
      values,
    )
  ).map((r) => ({
    clusterId: r.cluster_id,
    name: r.name,
    driver: r.driver,
    region: r.region,
    shape: r.shape,
    phase: r.phase,
    cordoned: r.cordoned,
    dedicated: r.variant === 'dedicated',
    capacityBytes: r.capacity,
    occupied: Number(r.occupied),
    reservedBytes: r.reserved === null ? null : BigInt(r.reserved),
    identityTaken: slotsOf(r.identity),
  }));

export const roomsOf = (tx: Tx, at: { readonly region: string; readonly shape: string }): Promise<ClusterRoom[]> =>
  roomsWhere(tx, 'c.region = $1 and c.shape = $2', [at.region, at.shape]);

export const takenOf = async (tx: Tx, clusterId: string): Promise<Taken> => (await roomsWhere(tx, 'c.cluster_id = $1', [clusterId]))[0]!;

function slotsOf(kinds: readonly IdentityKind[]): Taken['identityTaken'] {
  const taken: Partial<Record<IdentityKind, number>> = {};
  for (const kind of kinds) taken[kind] = (taken[kind] ?? 0) + 1;
  return taken;
}
