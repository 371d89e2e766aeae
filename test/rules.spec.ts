import { describe, expect, it } from 'vitest';

type Judge = (readmes: Record<string, string>, tests: { title: string; status: string }[]) => { rules: number; problems: string[] };
const { judgeRules } = (await import(new URL('../scripts/lib/rules.mjs', import.meta.url).href)) as { judgeRules: Judge };

const README = '| id | rule |\n|---|---|\n| AZ-01 | RS256 only |\n| AZ-02 | no zero |\n';
const good = [
  { title: 'a token signed by HS256 is refused [AZ-01]', status: 'passed' },
  { title: 'zero is not sent [AZ-01, AZ-02]', status: 'passed' },
];

describe("the ids of the contracts' rules", () => {
  it('hold where each has a test that passed', () => {
    expect(judgeRules({ AZ: README }, good)).toEqual({ rules: 2, problems: [] });
  });

  it.each<[string, string, { title: string; status: string }[], string]>([
    ['an id without a test', README, good.slice(0, 1), 'AZ-02 has no test that passed'],
    ['an id whose one test was left out', README, [good[0]!, { ...good[1]!, status: 'skipped' }], 'AZ-02 has no test that passed'],
    ['an id with a failed test besides', README, [...good, { title: 'x [AZ-01]', status: 'failed' }], 'AZ-01 has a test that failed'],
    ['a tag that no README knows', README, [...good, { title: 'x [AZ-09]', status: 'passed' }], 'AZ-09 is in a test'],
    ['an id that stands twice', `${README}| AZ-01 | again |\n`, good, 'AZ-01 stands twice'],
    ['an id of another adapter', `${README}| GC-01 | theirs |\n`, [...good, { title: 'x [GC-01]', status: 'passed' }], 'GC-01 stands in'],
    ['a README without any', 'No table.', [], 'has no rule with an id'],
  ])('are refused: %s', (_, readme, tests, problem) => {
    const { problems } = judgeRules({ AZ: readme }, tests);
    expect(problems).toEqual([expect.stringContaining(problem)]);
  });
});
