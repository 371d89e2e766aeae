import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Marketplace, MarketplaceAdapter } from '#marketplaces/core';
import type { ManualClock } from '#platform/testing';
import { Flows } from '../support/flows.js';
import { AwsAnswers, AWS_TOLD } from './aws-events.js';
import { AWS_TABLE } from './aws.table.js';
import { AzureAnswers, AZURE_TOLD } from './azure-events.js';
import { AZURE_TABLE } from './azure.table.js';
import { listen, OUR_STATES, outcomeOf, type EventCase, type EventTable } from './event-table.js';
import { GcpAnswers, GCP_TOLD } from './gcp-events.js';
import { GCP_TABLE } from './gcp.table.js';

interface Answers {
  adapter: MarketplaceAdapter;
  purchase(name: string): EventCase & { externalId: string };
}

const MARKETPLACES: {
  marketplace: Marketplace;
  make: (clock: ManualClock) => Answers;
  told: Record<string, unknown>;
  table: EventTable;
  ignored: number;
}[] = [
  { marketplace: 'azure', make: (clock) => new AzureAnswers(clock), told: AZURE_TOLD, table: AZURE_TABLE, ignored: 122 },
  { marketplace: 'gcp', make: (clock) => new GcpAnswers(clock), told: GCP_TOLD, table: GCP_TABLE, ignored: 97 },
  { marketplace: 'aws', make: (clock) => new AwsAnswers(clock), told: AWS_TOLD, table: AWS_TABLE, ignored: 176 },
];

describe.each(MARKETPLACES)('every documented event of $marketplace', ({ marketplace, make, told, table, ignored }) => {
  let flows: Flows;
  let answers: Answers;
  beforeAll(async () => {
    flows = await Flows.open({ adapters: (clock) => [(answers = make(clock)).adapter] });
    listen(flows);
  });
  afterAll(() => flows?.close());

  it('has a row in the table, and no row is of nothing', () => {
    expect([...table.keys()]).toEqual(Object.keys(told));
  });

  it.each(Object.keys(told))('%s does in each state what the table says', async (name) => {
    const found: Record<string, string> = {};
    for (const state of OUR_STATES)
      found[state] = await outcomeOf({ marketplace, flows, purchase: (n) => answers.purchase(n) }, name, state);
    expect(found).toEqual(table.get(name));
  });

  it('is ignored as often as is known', () => {
    const cells = [...table.values()].flatMap((row) => Object.values(row));
    const silent = cells.filter((cell) => cell === '=').length;
    console.log(`${marketplace}: ${cells.length} cells, ${silent} ignored`);
    expect(silent).toBe(ignored);
  });
});
