import { describe, expect, it } from 'vitest';
import type { RootModule } from '../modules.js';
import { summarise } from './plan-summary.js';

const module = { dataBearing: ['cloud_vm.node'] } as unknown as RootModule;
const change = (name: string, actions: string[], more: object = {}) => ({
  address: `cloud_vm.${name}["a"]`,
  mode: 'managed',
  type: 'cloud_vm',
  name,
  index: 'a',
  change: { actions },
  ...more,
});
const of = (...changes: object[]) => summarise({ resource_changes: changes }, module, ['a']);

describe('a plan in the words of the port', () => {
  it('counts nodes, and what changes beside them as one update', () => {
    expect(of(change('node', ['create']), change('rule', ['create']))).toMatchObject({ create: 1, update: 0, nodes: ['a'] });
    expect(of(change('node', ['no-op']), change('rule', ['delete', 'create']), change('other', ['update']))).toMatchObject({
      update: 1,
      replace: 0,
    });
    expect(of(change('node', ['update']))).toMatchObject({ update: 1, destroys: [] });
    expect(of(change('node', ['no-op']))).toMatchObject({ create: 0, update: 0, replace: 0, delete: 0 });
    expect(of({ ...change('node', ['read']), mode: 'data' })).toMatchObject({ changes: [], nodes: [] });
  });

  it.each([[['delete', 'create']], [['create', 'delete']]])('names a node that is replaced by %j as lost', (actions) => {
    expect(of(change('node', actions))).toMatchObject({ replace: 1, create: 0, delete: 0, destroys: ['a'], nodes: ['a'] });
  });

  it('names a node that is deleted as lost and as gone', () => {
    expect(of(change('node', ['delete']))).toMatchObject({ delete: 1, destroys: ['a'], nodes: [] });
  });

  it('loses nothing with a node whose creation never ended, and everything with one that was built', () => {
    const tainted = change('node', ['delete', 'create'], { action_reason: 'replace_because_tainted' });
    expect(summarise({ resource_changes: [tainted] }, module, [])).toMatchObject({ replace: 1, destroys: [] });
    expect(summarise({ resource_changes: [tainted] }, module, ['a'])).toMatchObject({ destroys: ['a'] });
  });
});
