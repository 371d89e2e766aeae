/** A plan as terraform shows it, in the port's words. Addresses and actions only: values may be secrets. */
import type { RootModule } from '../modules.js';

interface Change {
  readonly address: string;
  readonly mode: string;
  readonly type: string;
  readonly name: string;
  readonly index?: string | number;
  readonly action_reason?: string;
  readonly change: { readonly actions: readonly string[] };
}

export interface PlanSummary {
  readonly changes: readonly { readonly address: string; readonly actions: readonly string[] }[];
  readonly create: number;
  readonly update: number;
  readonly replace: number;
  readonly delete: number;
  /** Names of the data-bearing nodes that are lost. */
  readonly destroys: readonly string[];
  /** Names of the nodes that are there afterwards. */
  readonly nodes: readonly string[];
}

/**
 * Counts nodes; whatever else changes beside them counts as one update. A node whose creation never ended is tainted and holds
 * nothing: replacing it is no loss, unless it is one that was recorded as built (`built`).
 */
export function summarise(shown: unknown, module: RootModule, built: readonly string[]): PlanSummary {
  const all = ((shown as { resource_changes?: Change[] }).resource_changes ?? []).filter((c) => c.mode === 'managed');
  const isNode = (c: Change): boolean => module.dataBearing.includes(`${c.type}.${c.name}`);
  const does = (c: Change, action: string): boolean => c.change.actions.includes(action);
  const nameOf = (c: Change): string => (c.index === undefined ? c.address : String(c.index));
  const moving = all.filter((c) => !does(c, 'no-op') && !does(c, 'read'));
  const nodes = moving.filter(isNode);
  const both = (c: Change): boolean => does(c, 'delete') && does(c, 'create');
  const beside = moving.some((c) => !isNode(c));
  const count = (of: (c: Change) => boolean): number => nodes.filter(of).length;
  const made = count((c) => does(c, 'create') && !both(c));
  const replaced = count(both);
  const gone = count((c) => does(c, 'delete') && !both(c));
  return {
    changes: moving.map((c) => ({ address: c.address, actions: c.change.actions })),
    create: made,
    update: count((c) => does(c, 'update')) || (beside && made + replaced + gone === 0 ? 1 : 0),
    replace: replaced,
    delete: gone,
    destroys: nodes
      .filter((c) => does(c, 'delete') && !(c.action_reason === 'replace_because_tainted' && !built.includes(nameOf(c))))
      .map(nameOf)
      .sort(),
    nodes: all
      .filter((c) => isNode(c) && !(does(c, 'delete') && !does(c, 'create')))
      .map(nameOf)
      .sort(),
  };
}
