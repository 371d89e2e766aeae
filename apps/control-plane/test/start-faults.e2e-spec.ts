import { createServer } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { startProgram } from '../../../test/support/program.js';

const folder = mkdtempSync(join(tmpdir(), 'berth-start-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const refusal = async (env: Record<string, string>, args: string[] = []): Promise<{ code: number; message: string }> => {
  const started = startProgram('apps/control-plane/src/main.js', args, {
    BERTH_DATA: join(folder, 'data'),
    BERTH_LOG: 'silent',
    BERTH_REDIS: 'off',
    PORT: '0',
    ...env,
  });
  return started.then(
    (s) => {
      s.child.kill('SIGKILL');
      throw new Error('it started');
    },
    (error: Error & { code?: number }) => ({ code: error.code ?? -1, message: error.message }),
  );
};
const oneLine = (message: string): void => expect(message.split('\n')).toHaveLength(1);

describe('a start that cannot be', () => {
  it('names a port in use and the setting that changes it', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    const { code, message } = await refusal({ PORT: String(port), BERTH_RELAXED_DURABILITY: 'true' });
    taken.close();
    expect(code).toBe(1);
    oneLine(message);
    expect(message).toContain(`port ${port} is in use`);
    expect(message).toContain('PORT');
  }, 30_000);

  it('names a database that does not answer, and the way without one', async () => {
    const { code, message } = await refusal({ DATABASE_URL: 'postgres://nobody:wrong@127.0.0.1:9/none' });
    expect(code).toBe(1);
    oneLine(message);
    expect(message).toContain('127.0.0.1:9');
    expect(message).toContain('DATABASE_URL');
  });

  it('names every wrong setting at once', async () => {
    const { code, message } = await refusal({ PORT: 'many', BERTH_ROLE: 'captain' });
    expect(code).toBe(2);
    oneLine(message);
    expect(message).toMatch(/PORT.*BERTH_ROLE|BERTH_ROLE.*PORT/);
  });

  it('refuses a clock that moves while a marketplace is real', async () => {
    const { code, message } = await refusal({
      BERTH_SANDBOX_URL: 'http://127.0.0.1:9',
      AZURE_MARKETPLACE_URL: 'https://marketplace.example/api',
    });
    expect(code).toBe(2);
    expect(message).toContain('BERTH_SANDBOX_URL');
  });

  it('names a sandbox that is not there', async () => {
    const { code, message } = await refusal({ BERTH_SANDBOX_URL: 'http://127.0.0.1:9', BERTH_RELAXED_DURABILITY: 'true' });
    expect(code).toBe(1);
    oneLine(message);
    expect(message).toContain('Start it first');
  }, 30_000);

  it('refuses half of a marketplace', async () => {
    const { code, message } = await refusal({ AZURE_TENANT_ID: 'x' });
    expect(code).toBe(2);
    expect(message).toContain('AZURE_CLIENT_SECRET');
  });
});
