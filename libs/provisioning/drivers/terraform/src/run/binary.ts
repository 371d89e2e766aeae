/** Which program is run: `terraform`, else `tofu`, from PATH or by name. A wrong or missing one is a typed refusal, before any work. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { DriverError } from '#provisioning/core';

/** `terraform_data` came with Terraform 1.4; OpenTofu's first version has it. */
const OLDEST = { terraform: [1, 4], tofu: [1, 6] } as const;
const PROBE_MS = 20_000;
const run = promisify(execFile);

export interface Binary {
  readonly path: string;
  readonly product: 'terraform' | 'tofu';
  readonly version: string;
}

/** Looks once and remembers what is good; what is missing is looked for again, since a person may install it meanwhile. */
export class BinaryFinder {
  private found: Promise<Binary> | undefined;

  /** `name`: a path, or a name on `searchPath`; null takes what is there. */
  constructor(
    private readonly name: string | null,
    private readonly searchPath: string,
  ) {}

  find(): Promise<Binary> {
    this.found ??= this.look().catch((error: unknown) => {
      this.found = undefined;
      throw error;
    });
    return this.found;
  }

  private async look(): Promise<Binary> {
    const names = this.name === null ? ['terraform', 'tofu'] : [this.name];
    const path = names.map((name) => this.locate(name)).find((p) => p !== undefined);
    if (path === undefined)
      throw new DriverError(
        'validation',
        'terraform.not_found',
        `No ${names.join(' or ')} is on the PATH of this process. Install Terraform or OpenTofu, or name it with BERTH_TERRAFORM.`,
      );
    const { text, product } = await probe(path);
    const parts = text.split('.').map(Number);
    const [major, minor] = OLDEST[product];
    if (!(parts[0]! > major || (parts[0] === major && parts[1]! >= minor)))
      throw new DriverError(
        'validation',
        'terraform.too_old',
        `${path} is ${product} ${text}; ${major}.${minor} is the oldest that serves.`,
      );
    return { path, product, version: text };
  }

  private locate(name: string): string | undefined {
    const places = isAbsolute(name) ? [name] : this.searchPath.split(delimiter).map((folder) => join(folder, name));
    return places.find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
  }
}

async function probe(path: string): Promise<{ text: string; product: 'terraform' | 'tofu' }> {
  const not = (why: string): DriverError =>
    new DriverError('validation', 'terraform.not_usable', `${path} does not tell its version: ${why}`);
  try {
    // A person's own settings say nothing here: they may name a network, or a file that is not there.
    const env = { PATH: '/usr/bin:/bin', CHECKPOINT_DISABLE: '1', TF_CLI_CONFIG_FILE: '/dev/null' };
    const { stdout: words } = await run(path, ['version'], { timeout: PROBE_MS, env });
    const { stdout } = await run(path, ['version', '-json'], { timeout: PROBE_MS, env });
    const { terraform_version: text } = JSON.parse(stdout) as { terraform_version?: string };
    if (!text || !/^\d+\.\d+/.test(text)) throw not('the answer has no version');
    return { text, product: /^opentofu/i.test(words) ? 'tofu' : 'terraform' };
  } catch (error) {
    throw error instanceof DriverError ? error : not(error instanceof Error ? error.message.split('\n')[0]! : String(error));
  }
}
