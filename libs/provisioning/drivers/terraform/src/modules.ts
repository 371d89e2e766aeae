/** Root modules: one folder of terraform per kind of shape, and what the driver must know of it that terraform does not say. */
import { join } from 'node:path';
import { projectRoot } from '#platform';
import type { ClusterSpec, CostRate, ShapeCapability } from '#provisioning/core';

export interface RootModule {
  readonly name: string;
  /** Holds the `.tf` files; copied for each run. */
  readonly folder: string;
  readonly regions: readonly string[];
  readonly shapes: readonly ShapeCapability[];
  readonly versions: readonly string[];
  /** `type.name` of the resources that hold data. They are `for_each` over node names, so that a loss can be named. */
  readonly dataBearing: readonly string[];
  /** For the module's own programs; names of its variables are the module's affair. */
  readonly environment: Readonly<Record<string, string>>;
  /** Values of these never leave in a log: credentials of a cloud, for example. */
  readonly secretEnvironment?: Readonly<Record<string, string>>;
  readonly costOf: (spec: ClusterSpec) => CostRate | null;
}

/** Folder of a module that comes with the driver. */
export const moduleFolder = (name: string): string => join(projectRoot(), 'libs/provisioning/drivers/terraform/modules', name);

/**
 * The reference module: one node, which is a cell of this machine. It needs no provider but the built-in one, and no network.
 * `program` makes and removes cells; this driver knows it by its command line alone.
 */
export function cellModule(program: {
  readonly nodePath: string;
  readonly entry: string;
  readonly root: string;
  readonly maxCells: number;
  /** What the program can make. */
  readonly regions: readonly string[];
  readonly shapes: readonly ShapeCapability[];
  readonly versions: readonly string[];
}): RootModule {
  return {
    name: 'cell',
    folder: moduleFolder('cell'),
    regions: program.regions,
    shapes: program.shapes,
    versions: program.versions,
    dataBearing: ['terraform_data.node'],
    environment: {
      BERTH_NODE: program.nodePath,
      BERTH_CELLS: program.entry,
      BERTH_CELLS_ROOT: program.root,
      BERTH_CELLS_MOST: String(program.maxCells),
    },
    costOf: () => ({ amountPerHour: '0', currency: 'USD' }),
  };
}

/** What every module is given; it takes all of it. */
export function variablesOf(clusterRef: string, spec: ClusterSpec): Record<string, unknown> {
  return {
    cluster: clusterRef,
    region: spec.region,
    shape: spec.shape,
    nodes: spec.nodes,
    software_version: spec.version,
    capacity_bytes: spec.capacityBytes,
    labels: spec.labels,
  };
}

/** For what needs a spec of the module and no particular one. */
export function smallestSpec(module: RootModule): ClusterSpec {
  const shape = module.shapes[0]!;
  return { region: module.regions[0]!, shape: shape.name, nodes: shape.minNodes, version: null, capacityBytes: null, labels: {} };
}
