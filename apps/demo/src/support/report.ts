/** What a person reads. Chapters are numbered; a fact is one line; an expectation that does not hold ends the run. */
export class ExpectationFailed extends Error {}

export class Report {
  private chapterNumber = 0;
  private readonly began = performance.now();
  held = 0;

  constructor(private readonly out: (line: string) => void = (line) => process.stdout.write(`${line}\n`)) {}

  chapter(title: string): void {
    this.chapterNumber += 1;
    this.out(`\n${this.chapterNumber}. ${title}  [${this.elapsed()}]`);
  }

  fact(text: string): void {
    this.out(`   · ${text}`);
  }

  block(lines: string[]): void {
    for (const line of lines) this.out(`   ${line}`);
  }

  line(text = ''): void {
    this.out(text);
  }

  /** `numbers` is what was seen; on failure it is the reason. */
  expect(description: string, condition: boolean, numbers = ''): void {
    const text = numbers ? `${description}: ${numbers}` : description;
    this.out(`   ${condition ? '✓' : '✗'} ${text}`);
    if (!condition) throw new ExpectationFailed(text);
    this.held += 1;
  }

  equal(description: string, actual: unknown, wanted: unknown): void {
    const same = actual === wanted;
    this.expect(description, same, same ? String(actual) : `${String(actual)}, expected ${String(wanted)}`);
  }

  elapsed(): string {
    const seconds = (performance.now() - this.began) / 1000;
    return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  }
}
