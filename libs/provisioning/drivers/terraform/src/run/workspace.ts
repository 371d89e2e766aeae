/**
 * One run of terraform in a folder of its own that nobody needs afterwards: module, CLI settings, data folder and plan file.
 * Nothing of the person's or the machine's own terraform reaches in, and no provider comes over a network.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DriverError, type ClusterSpec, type Steps } from '#provisioning/core';
import type { RootModule } from '../modules.js';
import { variablesOf } from '../modules.js';
import type { RunCredential } from '../state/ports.js';
import { isAlive, RUN_MARK } from './groups.js';
import { runGroup } from './process-group.js';
import { TerraformOutput, type TerraformEvents } from './output.js';
import { redactor, type Redact } from './redact.js';

const PLAN_FILE = 'berth.tfplan';

export interface RunSettings {
  /** Folders of runs; each is removed at the run's end. */
  readonly workRoot: string;
  readonly binary: string;
  readonly searchPath: string;
  /** A folder of providers (`terraform providers mirror`); null: modules need the built-in one only. */
  readonly providerMirror: string | null;
  /** Base of the state backend; the cluster's name is added. */
  readonly backendUrl: string;
  readonly graceMs: number;
  /** Who waits for the run, and until when. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly onLog: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface RunSubject {
  readonly clusterRef: string;
  readonly module: RootModule;
  readonly spec: ClusterSpec;
  readonly credential: RunCredential;
  readonly fencingToken: number;
  /** `write` runs are found and ended by the next writer, should this process be killed. */
  readonly mode: 'read' | 'write';
}

/** What marks the processes of a cluster's writer. */
export const writerMark = (workRoot: string, clusterRef: string): string => `${clusterRef}@${workRoot}`;

const prefixOf = (of: Pick<RunSubject, 'clusterRef' | 'mode'>): string => `${of.clusterRef}.${of.mode}.`;

/**
 * Folders of runs whose process was killed: a plan file lies in them, in plain text. For the next writer of the cluster, once the
 * processes of older writers are ended; a plan that somebody living makes meanwhile stays.
 */
export function removeLeftFolders(workRoot: string, clusterRef: string): void {
  if (!existsSync(workRoot)) return;
  for (const name of readdirSync(workRoot)) {
    const isWriter = name.startsWith(prefixOf({ clusterRef, mode: 'write' }));
    const reads = prefixOf({ clusterRef, mode: 'read' });
    if (isWriter || (name.startsWith(reads) && !isAlive(Number(name.slice(reads.length).split('.')[0]))))
      rmSync(join(workRoot, name), { recursive: true, force: true, maxRetries: 3 });
  }
}

export class Workspace {
  private readonly folder: string;
  private readonly redact: Redact;
  private readonly env: Record<string, string>;

  constructor(
    private readonly settings: RunSettings,
    private readonly subject: RunSubject,
  ) {
    const { workRoot } = settings;
    mkdirSync(workRoot, { recursive: true, mode: 0o700 });
    this.folder = mkdtempSync(join(workRoot, `${prefixOf(subject)}${process.pid}.`));
    this.redact = redactor([
      subject.credential.secret,
      `${subject.credential.id}:${subject.credential.secret}`,
      ...Object.values(subject.module.secretEnvironment ?? {}),
    ]);
    this.env = this.environment();
    cpSync(subject.module.folder, this.folder, { recursive: true });
    const write = (name: string, text: string): void => writeFileSync(join(this.folder, name), text, { mode: 0o600 });
    write('berth.auto.tfvars.json', JSON.stringify(variablesOf(subject.clusterRef, subject.spec)));
    write('cli.tfrc', cliSettings(settings.providerMirror ?? join(this.folder, 'no-providers')));
  }

  async init(): Promise<void> {
    // A lock file of the module holds its providers to their checksums.
    await this.run(['init', '-input=false', '-no-color'], silent);
  }

  /** The plan file, and what it would do. Takes no lock: it writes no state. */
  async plan(
    options: { readonly destroy?: boolean; readonly replace?: readonly string[] } = {},
  ): Promise<{ file: Buffer; shown: unknown }> {
    const more = [...(options.destroy ? ['-destroy'] : []), ...(options.replace ?? []).map((address) => `-replace=${address}`)];
    await this.run(['plan', '-input=false', '-lock=false', '-json', '-detailed-exitcode', `-out=${PLAN_FILE}`, ...more], silent, [0, 2]);
    let shown = '';
    await this.run(['show', '-json', PLAN_FILE], silent, [0], (line) => (shown += line));
    return { file: readFileSync(join(this.folder, PLAN_FILE)), shown: JSON.parse(shown) as unknown };
  }

  /** Exactly this plan file. */
  async apply(file: Buffer, steps: Pick<Steps, 'report'>): Promise<void> {
    writeFileSync(join(this.folder, PLAN_FILE), file, { mode: 0o600 });
    await this.run(['apply', '-input=false', '-json', '-lock-timeout=0s', PLAN_FILE], (address, state, detail) =>
      steps.report(address, state, detail),
    );
  }

  /** Also what terraform wrote to disk because its state was refused: that is plain text, and no truth of ours. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** `keep`: takes the standard output unredacted and unlogged, for what is read by us and holds values. */
  private async run(
    args: readonly string[],
    onResource: TerraformEvents['onResource'],
    good: readonly number[] = [0],
    keep?: (line: string) => void,
  ): Promise<void> {
    const output = new TerraformOutput(this.redact, { onResource, onLog: this.settings.onLog });
    const said: string[] = [];
    const { code, ended } = await runGroup({
      program: this.settings.binary,
      args,
      folder: this.folder,
      env: this.env,
      timeoutMs: this.settings.timeoutMs,
      graceMs: this.settings.graceMs,
      signal: this.settings.signal,
      onLine: (line, stream) => {
        if (keep && stream === 'stdout') return keep(line);
        if (said.length < 40) said.push(line);
        output.line(line);
      },
    });
    if (ended === 'cancelled')
      throw new DriverError('conflict', 'operation.cancelled', `terraform ${args[0]!} was stopped. What is done was not undone.`);
    if (ended === 'timed_out')
      throw new DriverError('unknown', 'terraform.timed_out', `terraform ${args[0]!} did not end within ${this.settings.timeoutMs} ms.`);
    if (good.includes(code ?? -1)) return;
    // `init` and `show` speak in words, not in JSON lines.
    if (!args.includes('-json') || args[0] === 'show')
      output.line(JSON.stringify({ '@level': 'error', diagnostic: { severity: 'error', summary: this.redact(said.join(' ')) } }));
    throw output.failure(code);
  }

  private environment(): Record<string, string> {
    const { credential, module, clusterRef, fencingToken, mode } = this.subject;
    const { settings, folder } = this;
    const address = `${settings.backendUrl.replace(/\/$/, '')}/${clusterRef}`;
    return {
      PATH: settings.searchPath,
      HOME: folder,
      // The module's programs share folders with others of this machine.
      TMPDIR: tmpdir(),
      TZ: 'UTC',
      ...module.environment,
      ...module.secretEnvironment,
      BERTH_FENCING_TOKEN: String(fencingToken),
      [RUN_MARK]: mode === 'write' ? writerMark(settings.workRoot, clusterRef) : 'read',
      TF_IN_AUTOMATION: '1',
      TF_INPUT: '0',
      CHECKPOINT_DISABLE: '1',
      TF_DATA_DIR: join(folder, '.terraform'),
      TF_CLI_CONFIG_FILE: join(folder, 'cli.tfrc'),
      TF_HTTP_ADDRESS: address,
      TF_HTTP_LOCK_ADDRESS: address,
      TF_HTTP_UNLOCK_ADDRESS: address,
      TF_HTTP_USERNAME: credential.id,
      TF_HTTP_PASSWORD: credential.secret,
      TF_HTTP_RETRY_MAX: '2',
      TF_HTTP_RETRY_WAIT_MAX: '2',
    };
  }
}

const silent = (): void => undefined;

/** No `direct`: what is not in the mirror is not installed. */
const cliSettings = (mirror: string): string =>
  `disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = ${JSON.stringify(mirror)}\n  }\n}\n`;
