import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aCall, outputOf, untilDone } from '#provisioning/core/testing';
import { failureOf, SPEC, ToyHouse } from './testing/toy-house.js';

const LARGE = { ...SPEC, shape: 'large' };

describe('what surrounds a run of terraform', () => {
  let h: ToyHouse;
  beforeAll(async () => {
    h = await new ToyHouse().start();
  });
  afterAll(() => h?.dispose());

  it('lets no secret out: not into a log, a step, a plan, nor into the database as plain text', async () => {
    const ref = h.newRef();
    const secret = 'pa55-"word"-of-a-cloud';
    const driver = h.another({}, secret);
    h.log.length = 0;
    h.script(`echo "the token is $TF_VAR_token and $TF_HTTP_PASSWORD"; echo "$TF_VAR_token" | base64; env`);
    await h.apply(ref, SPEC, 1, driver);
    h.script(`echo "failed with $TF_VAR_token" >&2; exit 1`);
    const plan = await h.planned(ref, LARGE, driver);
    const call = aCall(ref);
    const failed = await untilDone(() => driver.apply(call, { plan }));
    expect(failed.phase).toBe('failed');
    expect(h.log.join('\n')).toContain('the token is [redacted] and [redacted]');
    const tables = ['driver_operations', 'terraform_clusters', 'terraform_credentials', 'terraform_state_versions', 'terraform_plans'];
    const kept = await Promise.all(tables.map(async (t) => JSON.stringify(await h.rows(`select * from ${t}`))));
    const everything = [h.log.join('\n'), JSON.stringify(plan), JSON.stringify(failed), ...kept].join('\n');
    const forms = [secret, JSON.stringify(secret).slice(1, -1), Buffer.from(secret).toString('base64').slice(0, -4)];
    for (const form of forms) expect(everything.includes(form)).toBe(false);
    // It is in the state, which is why that is sealed.
    const [head] = await h.rows<{ version: number; sealed: string }>(
      'select version, sealed from terraform_state_versions where cluster_ref = $1 order by version desc limit 1',
      [ref],
    );
    expect(h.sealer.open(head!.sealed, `terraform-state/${ref}/${head!.version}`)).toContain('pa55-');
    h.quick();
  });

  it('refuses in words, before it makes anything, where there is no program or too old a one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-no-terraform-'));
    const old = join(folder, 'terraform');
    try {
      const without = h.another({ searchPath: folder });
      expect(await failureOf(() => without.plan(aCall(h.newRef()), SPEC))).toMatchObject({
        class: 'validation',
        code: 'terraform.not_found',
      });
      const { ok, checks } = await outputOf(() => without.preflight(aCall(h.newRef()), SPEC));
      expect(ok).toBe(false);
      expect(checks).toContainEqual(expect.objectContaining({ name: 'program', result: 'fail' }));
      writeFileSync(old, `#!/bin/sh\nif [ "$2" = -json ]; then echo '{"terraform_version":"1.3.9"}'; else echo 'Terraform v1.3.9'; fi\n`);
      chmodSync(old, 0o755);
      expect(await failureOf(() => without.plan(aCall(h.newRef()), SPEC))).toMatchObject({ code: 'terraform.too_old' });
      writeFileSync(old, '#!/bin/sh\nexit 3\n');
      expect(await failureOf(() => without.plan(aCall(h.newRef()), SPEC))).toMatchObject({ code: 'terraform.not_usable' });
      // A person installs it: nothing has to be started anew.
      writeFileSync(old, `#!/bin/sh\nif [ "$2" = -json ]; then echo '{"terraform_version":"1.9.0"}'; else echo 'OpenTofu v1.9.0'; fi\n`);
      expect((await outputOf(() => without.preflight(aCall(h.newRef()), SPEC))).checks).toContainEqual(
        expect.objectContaining({ name: 'program', result: 'pass', detail: expect.stringContaining('tofu 1.9.0') }),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('reaches for no network and no settings of the machine', async () => {
    const ref = h.newRef();
    h.log.length = 0;
    h.script('env; cat "$TF_CLI_CONFIG_FILE"');
    await h.apply(ref);
    const said = h.log.join('\n');
    expect(said).toContain('CHECKPOINT_DISABLE=1');
    expect(said).toContain('filesystem_mirror');
    expect(said).not.toMatch(/direct *\{/);
    expect(said).toContain(`TF_DATA_DIR=${h.work}`);
    h.quick();
  });
});
