import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.js';
import { buildSandbox, type Sandbox } from '../src/server.js';
import { openApiPath } from '../src/shared/openapi.js';
import { CONTROL_NOTES } from '../src/shared/openapi-notes.js';

interface Document {
  openapi: string;
  paths: Record<
    string,
    Record<
      string,
      {
        operationId: string;
        summary: string;
        tags: string[];
        requestBody?: { content: Record<string, { schema: { required?: string[] } }> };
      }
    >
  >;
}

describe("the sandbox's own description", () => {
  let sandbox: Sandbox;
  let document: Document;
  beforeAll(async () => {
    sandbox = await buildSandbox(readConfig({ SANDBOX_PORT: '0' }));
    document = (await (await fetch(`${await sandbox.listen()}/openapi.json`)).json()) as Document;
  });
  afterAll(() => sandbox.close());

  const operations = (): [string, Document['paths'][string][string]][] =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as [string, typeof operation]),
    );

  it('has every route of all three marketplaces, each under an id of its own', () => {
    const names = operations().map(([name]) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        'POST /azure/api/saas/subscriptions/resolve',
        'POST /azure/api/batchUsageEvent',
        'POST /azure/login/{tenant}/oauth2/v2.0/token',
        'POST /aws/metering',
      ]),
    );
    expect(
      names.some((name) => /^POST \/gcp\/procurement\/.*\/entitlements\/\{\w+\}:approve$/.test(name)),
      names.join('\n'),
    ).toBe(true);
    expect(names.some((name) => /^POST \/gcp\/servicecontrol\/.*:report$/.test(name))).toBe(true);
    const ids = operations().map(([, operation]) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('says what each control route is for, and describes no route that is gone', () => {
    const control = operations().filter(([name]) => name.includes(' /sandbox'));
    expect(control.length).toBeGreaterThan(25);
    expect(control.filter(([name]) => !CONTROL_NOTES[name]).map(([name]) => name)).toEqual([]);
    const names = operations().map(([name]) => name);
    expect(Object.keys(CONTROL_NOTES).filter((name) => !names.includes(name))).toEqual([]);
  });

  it('shows the very bodies that are checked', () => {
    const schema = document.paths['/sandbox/azure/purchases']!['post']!.requestBody!.content['application/json']!.schema;
    expect(schema.required).toEqual(['offerId', 'planId']);
  });

  it('reads literal colons and patterns of paths', () => {
    expect(openApiPath('/a/:id([^/:]+)::approve')).toEqual({ path: '/a/{id}:approve', parameters: ['id'] });
  });
});
