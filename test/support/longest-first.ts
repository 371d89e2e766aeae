import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Which take a minute or more, longest first: begun last, one of them would keep a single core busy while the other waits. */
const LONGEST = [
  'test/crash/terraform.e2e',
  'test/crash/short.e2e',
  'test/crash/interrupt.e2e',
  'test/aws-agreements.e2e',
  'test/landing.e2e',
  'test/gcp-life.e2e',
  'test/clusters.e2e',
  'test/faults/short.e2e',
  'test/terraform-cells.int',
  'test/model/model.int',
  'test/succession.int',
  'test/events/event-tables.int',
  'local/src/sampling.int',
  'terraform/src/runs.int',
  'blob/suite.contract',
  'test/gcp-service.contract',
];

/** A clean clone remembers no durations, and a file's size, by which Vitest orders then, says little. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => LONGEST.findIndex((name) => moduleId.includes(name)) + 1 || Infinity;
    const others = await super.sort(files);
    return others.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
  }
}
