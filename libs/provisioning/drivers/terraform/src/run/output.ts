/** What terraform says as JSON lines, as steps for people who wait, log lines, and one classified error. */
import { DriverError, type DriverErrorClass } from '#provisioning/core';
import type { Redact } from './redact.js';

export interface TerraformEvents {
  /** A resource begins, ends or fails. */
  readonly onResource: (address: string, state: 'running' | 'done' | 'failed', detail: string) => void;
  readonly onLog: (level: 'info' | 'warn' | 'error', message: string) => void;
}

interface Line {
  readonly '@level'?: string;
  readonly '@message'?: string;
  readonly type?: string;
  readonly hook?: { readonly resource?: { readonly addr?: string }; readonly action?: string; readonly output?: string };
  readonly diagnostic?: { readonly severity?: string; readonly summary?: string; readonly detail?: string };
}

interface Told {
  readonly class: DriverErrorClass;
  readonly code: string;
  readonly detail: string;
}

/** A program of a module says so when it knows what went wrong: `berth-error: {"class":…,"code":…,"detail":…}`. */
const TOLD = /berth-error: (\{.*\})/;
const CLASSES: ReadonlySet<string> = new Set(['throttled', 'conflict', 'permission', 'quota', 'validation', 'unknown', 'unsupported']);

/** By the words of clouds and of terraform itself; the first that fits. What fits none has an unknown outcome. */
const BY_WORDS: readonly (readonly [RegExp, DriverErrorClass, string])[] = [
  [/saved plan is stale/i, 'conflict', 'plan.stale'],
  [/error acquiring the state lock|state lock/i, 'conflict', 'state.locked'],
  [/failed to save state|error uploading state|failed to persist state/i, 'conflict', 'state.not_saved'],
  [/throttl|rate exceeded|too ?many ?requests|\b429\b|RequestLimitExceeded/i, 'throttled', 'terraform.throttled'],
  [/quota|limit ?exceeded|LimitExceeded|insufficient ?capacity/i, 'quota', 'terraform.quota'],
  [/access ?denied|unauthori[sz]ed|not authorized|permission|forbidden|\b403\b/i, 'permission', 'terraform.permission'],
  [
    /invalid|unsupported|missing required|reference to undeclared|argument|prevent_destroy|cannot be destroyed/i,
    'validation',
    'terraform.invalid',
  ],
];

const DETAIL = 600;

/** Reads line after line; everything that leaves is redacted. */
export class TerraformOutput {
  private readonly errors: string[] = [];
  private told: Told | undefined;

  constructor(
    private readonly redact: Redact,
    private readonly events: TerraformEvents,
  ) {}

  line(raw: string): void {
    const text = this.redact(raw);
    const line = parse(text);
    if (!line) {
      if (text.trim() !== '') this.log('info', text);
      this.listen(text);
      return;
    }
    const message = line['@message'] ?? '';
    const address = line.hook?.resource?.addr;
    if (line.hook?.output !== undefined) this.listen(line.hook.output);
    if (address) {
      if (line.type === 'apply_start') this.events.onResource(address, 'running', `${line.hook?.action ?? 'change'} begins`);
      if (line.type === 'apply_complete') this.events.onResource(address, 'done', `${line.hook?.action ?? 'change'} is done`);
      if (line.type === 'apply_errored' || line.type === 'provision_errored') this.events.onResource(address, 'failed', message);
    }
    const { diagnostic } = line;
    if (diagnostic?.severity === 'error') this.errors.push([diagnostic.summary, diagnostic.detail].filter(Boolean).join(': '));
    if (line.type !== 'version' && message !== '')
      this.log(line['@level'] === 'error' ? 'error' : line['@level'] === 'warn' ? 'warn' : 'info', message);
  }

  /** What a run that failed was: what the module's own program told, else by the words of the first error. */
  failure(code: number | null): DriverError {
    if (this.told) return new DriverError(this.told.class, this.told.code, this.told.detail);
    const words = this.errors.join(' | ').replace(/\s+/g, ' ').trim();
    const [, errorClass, name] = BY_WORDS.find(([pattern]) => pattern.test(words)) ?? [null, 'unknown' as const, 'terraform.failed'];
    return new DriverError(errorClass, name, words === '' ? `Terraform ended with ${code ?? 'a signal'}.` : words.slice(0, DETAIL));
  }

  private listen(text: string): void {
    const found = TOLD.exec(text)?.[1];
    if (found === undefined || this.told) return;
    const told = parse(found) as Partial<Told> | undefined;
    if (told && CLASSES.has(String(told.class)))
      this.told = { class: told.class!, code: String(told.code), detail: String(told.detail).slice(0, DETAIL) };
  }

  private log(level: 'info' | 'warn' | 'error', message: string): void {
    this.events.onLog(level, message);
  }
}

function parse(text: string): Line | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}
