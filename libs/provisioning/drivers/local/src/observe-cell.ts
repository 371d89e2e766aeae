/** Looking: no start, no adoption, no file is written. Only `sweep` ends what its deletion has left over. */
import { basename } from 'node:path';
import {
  DriverError,
  type ClusterObservation,
  type DeleteOutcome,
  type InventoryItem,
  type InventoryReport,
  type ObservedPlacement,
  type ProbeAccess,
  type ValidationReport,
} from '#provisioning/core';
import { callCell, identify } from './cell-client.js';
import type { CellHost } from './cell-host.js';
import { cellPaths, readJson } from './files.js';
import type { CellFile, CellStatus, DesiredFile } from './wire.js';

export function endpointOf(cell: CellFile, accountName: string): string {
  return `http://127.0.0.1:${cell.gatewayPort}/${accountName}`;
}

/** An account that no meter reads, for as long as it says. */
export async function openProbe(cell: CellFile, lifeMs: number): Promise<ProbeAccess> {
  if (!(await identify(cell)))
    throw new DriverError('unknown', 'cell.no_answer', 'Nobody who can prove to be the cell answers at its admin port.');
  const probe = await callCell<{ accountName: string; secretBase64: string }>(cell, 'POST', '/probes', { lifeMs });
  return { ...probe, endpoint: endpointOf(cell, probe.accountName) };
}

export const closeProbe = async (cell: CellFile | undefined, accountName: string): Promise<void> => {
  if (cell) await callCell(cell, 'DELETE', `/probes/${accountName}`);
};

/** Loaded only here: a program that makes cells needs no buyer's SDK. */
export const proveCell = async (cell: CellFile): Promise<ValidationReport> => (await import('./probe.js')).probeCell(cell);

export async function observeCell(host: CellHost, clusterRef: string, now: Date): Promise<ClusterObservation> {
  const found = host.find(clusterRef);
  const base = { clusterRef, observedAt: now.toISOString() };
  if (!found)
    return {
      ...base,
      exists: false,
      stateSerial: 0,
      observedGeneration: null,
      health: 'unknown',
      reasons: ['There is no cell.'],
      version: null,
      nodes: [],
      placements: [],
      metering: null,
    };
  const { folder, cell } = found;
  const identity = await identify(cell);
  const status = identity?.ready ? await callCell<CellStatus>(cell, 'GET', '/status', undefined, 5000).catch(() => undefined) : undefined;
  const pid = identity?.pid ?? (await host.pidOf(folder, cell));
  const desired = readJson<DesiredFile>(cellPaths(folder).desired);
  const reasons: string[] = [];
  if (pid === null) reasons.push('The process of the cell is not there.');
  else if (!status) reasons.push('The process is there and does not answer.');
  else if (status.metering.lastError) reasons.push(`Usage is not accepted: ${status.metering.lastError}`);
  return {
    ...base,
    exists: true,
    stateSerial: cell.serial,
    observedGeneration: status?.generation ?? desired?.generation ?? null,
    health: status ? (reasons.length === 0 ? 'ok' : 'degraded') : 'down',
    reasons,
    version: status?.version ?? null,
    nodes: [
      {
        name: cell.cellId,
        state: status ? 'running' : pid === null ? 'stopped' : 'broken',
        ...(pid === null ? {} : { detail: `pid ${pid}` }),
      },
    ],
    placements: status ? status.placements.map((p) => ({ ...p, endpoint: endpointOf(cell, p.accountName) })) : fromRecord(cell, desired),
    metering: status?.metering ?? null,
  };
}

/** What the cell enforces when it is back; its counters cannot be read now. */
function fromRecord(cell: CellFile, desired: DesiredFile | undefined): ObservedPlacement[] {
  return Object.entries(desired?.accounts ?? {}).map(([placementId, accountName]) => ({
    placementId,
    accountName,
    state: desired?.placements.find((p) => p.placementId === placementId)?.state ?? 'closed',
    endpoint: endpointOf(cell, accountName),
    storedBytes: null,
    counters: null,
  }));
}

/** Ends processes with the label of a folder that is gone, and tells what is still there. */
export async function sweep(host: CellHost, folder: string, clusterRef: string): Promise<DeleteOutcome> {
  for (const process of host.labelled()) if (process.folder === folder) host.killLabelled(process);
  const { items } = await listInventory(host);
  return { survivors: items.filter((i) => i.clusterRef === clusterRef && i.state !== 'broken') };
}

/** Folders, and processes with our label whose folder is gone or is another's. */
export async function listInventory(host: CellHost): Promise<InventoryReport> {
  const items: InventoryItem[] = [];
  const folders = host.folders();
  for (const folder of folders) {
    const cell = host.read(folder);
    const pid = cell ? await host.pidOf(folder, cell) : null;
    items.push({
      externalId: basename(folder),
      kind: 'cell-folder',
      clusterRef: cell?.clusterRef ?? null,
      state: !cell ? 'broken' : pid === null ? 'stopped' : 'running',
      managed: cell?.managed ?? true,
      detail: cell ? (pid === null ? 'not running' : `pid ${pid}`) : 'no readable cell.json',
    });
  }
  for (const { pid, folder } of host.labelled())
    if (!folders.includes(folder))
      items.push({
        externalId: `process-${pid}`,
        kind: 'cell-process',
        clusterRef: basename(folder),
        state: 'running',
        managed: true,
        detail: `pid ${pid} without a folder`,
      });
  return { items };
}
