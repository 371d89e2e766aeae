import { describe, expect, it } from 'vitest';
import { TerraformOutput } from './output.js';
import { redactor } from './redact.js';

const diagnostic = (summary: string, detail = ''): string =>
  JSON.stringify({
    '@level': 'error',
    '@message': `Error: ${summary}`,
    type: 'diagnostic',
    diagnostic: { severity: 'error', summary, detail },
  });

function listen(redact = redactor([])): { out: TerraformOutput; log: string[]; steps: string[] } {
  const log: string[] = [];
  const steps: string[] = [];
  const out = new TerraformOutput(redact, {
    onLog: (level, message) => void log.push(`${level} ${message}`),
    onResource: (address, state) => void steps.push(`${address} ${state}`),
  });
  return { out, log, steps };
}

describe("terraform's output", () => {
  it.each([
    ['Saved plan is stale', 'conflict', 'plan.stale'],
    ['Error acquiring the state lock', 'conflict', 'state.locked'],
    ['Failed to save state', 'conflict', 'state.not_saved'],
    ['ThrottlingException: Rate exceeded', 'throttled', 'terraform.throttled'],
    ['VcpuLimitExceeded: You have requested more', 'quota', 'terraform.quota'],
    ['Quota SSD_TOTAL_GB exceeded', 'quota', 'terraform.quota'],
    ['AccessDenied: not authorized to perform', 'permission', 'terraform.permission'],
    ['Unsupported argument', 'validation', 'terraform.invalid'],
    ['Instance cannot be destroyed', 'validation', 'terraform.invalid'],
    ['the provider fell over', 'unknown', 'terraform.failed'],
  ])('%s is %s', (summary, errorClass, code) => {
    const { out } = listen();
    out.line(diagnostic(summary));
    expect(out.failure(1)).toMatchObject({ class: errorClass, code });
  });

  it('has an unknown outcome when it ended without a word', () => {
    expect(listen().out.failure(null)).toMatchObject({
      class: 'unknown',
      code: 'terraform.failed',
      detail: 'Terraform ended with a signal.',
    });
  });

  it('believes the program of a module before the words of terraform, and only known classes', () => {
    const told = (text: string) => {
      const { out } = listen();
      out.line(JSON.stringify({ type: 'provision_progress', hook: { output: text, resource: { addr: 'a.b' } } }));
      out.line(diagnostic('local-exec provisioner error', 'exit status 1'));
      return out.failure(1);
    };
    expect(told('berth-error: {"class":"quota","code":"x.y","detail":"z"}')).toMatchObject({ class: 'quota', code: 'x.y' });
    expect(told('berth-error: {"class":"magic","code":"x.y","detail":"z"}')).toMatchObject({ code: 'terraform.failed' });
  });

  it('tells when a resource begins, ends and fails', () => {
    const { out, steps } = listen();
    for (const type of ['apply_start', 'apply_complete', 'apply_errored', 'provision_progress'])
      out.line(JSON.stringify({ type, '@message': 'm', hook: { resource: { addr: 'a.b' }, action: 'create' } }));
    expect(steps).toEqual(['a.b running', 'a.b done', 'a.b failed']);
  });

  it('redacts a secret in each form in which a program may print it', () => {
    const secret = 'pa"55/word+of a cloud';
    const { out, log } = listen(redactor([secret, 'ab']));
    for (const form of [secret, JSON.stringify(secret), encodeURIComponent(secret), Buffer.from(secret).toString('base64')])
      out.line(`x ${form} about`);
    out.line(diagnostic(`bad ${secret}`));
    expect(log.join('\n')).not.toMatch(/55|cGEi/);
    expect(log[0]).toBe('info x [redacted] about');
    expect(out.failure(1).detail).toBe('bad [redacted]');
  });
});
