import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildPortal, startBrowser } from './browser.js';
import { LandingServer, sampleSession, SESSION_ID, type LandingProgress } from './landing-server.js';

const STAGES = [
  { code: 'planning', title: 'Planning' },
  { code: 'creating', title: 'Creating your storage' },
  { code: 'access', title: 'Setting up your access' },
  { code: 'testing', title: 'Testing it with a real write and read' },
  { code: 'activating', title: 'Activating at Azure Marketplace' },
] as const;
const progressAt = (current: number, change: Partial<LandingProgress> = {}): LandingProgress => ({
  code: `setup.${STAGES[current]!.code}`,
  title: STAGES[current]!.title,
  message: 'Your storage is being created and started.',
  awaited: 'your storage to start',
  since: new Date().toISOString(),
  retrying: false,
  stages: STAGES.map((stage, i) => ({ ...stage, state: i < current ? 'done' : i === current ? 'current' : 'ahead' })),
  ...change,
});
const progress = progressAt(1);
const endpoint = {
  url: 'https://archive.weu.harbour.example/archive',
  accountName: 'archive',
  keys: [{ id: 'key1', secret: 'c2FtcGxlLWtleQ==' }],
  keysShownOnce: true,
};
const ready = sampleSession({ state: 'ready', endpoint, tenant: { slug: 'archive', displayName: 'Archive' }, apiKey: 'sample-api-key' });

let dist: string;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let server: LandingServer;
let complaints: string[];

beforeAll(async () => {
  [browser, dist] = await Promise.all([startBrowser(), buildPortal()]);
});

afterAll(async () => {
  await browser?.close();
  if (dist) await rm(dist, { recursive: true, force: true });
});

beforeEach(async () => {
  server = new LandingServer(dist);
  await server.start();
  context = await browser.newContext();
  page = await context.newPage();
  page.setDefaultTimeout(15_000);
  complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) complaints.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url)) complaints.push(`foreign request: ${request.url()}`);
  });
});

afterEach(async () => {
  await context.close();
  await server.vanish();
  expect(complaints).toEqual([]);
});

const open = () => page.goto(`${server.url}/landing/s/${SESSION_ID}`);
const text = (words: string | RegExp) => page.getByText(words).first().waitFor();
const heading = (name: string) => page.getByRole('heading', { name }).waitFor();
const button = (name: string) => page.getByRole('button', { name });
const problemOf = async (label: string) => {
  const ids = (await page.getByLabel(label).getAttribute('aria-describedby')) ?? '';
  const texts = await Promise.all(
    ids
      .split(' ')
      .filter(Boolean)
      .map((id) => page.locator(`[id="${id}"]`).textContent()),
  );
  return texts.join(' ');
};

async function fill(organisation: string, email: string): Promise<void> {
  await page.getByLabel('Organisation').fill(organisation);
  await page.getByLabel('Region').selectOption('neu');
  await page.getByLabel('Contact name').fill('  Sam Sample ');
  await page.getByLabel('Contact e-mail').fill(email);
}

describe('the landing page', () => {
  it('stays within 120 kB of gzipped JavaScript', async () => {
    const scripts = (await readdir(join(dist, 'assets'))).filter((name) => name.endsWith('.js'));
    const sizes = await Promise.all(scripts.map(async (name) => gzipSync(await readFile(join(dist, 'assets', name))).length));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    expect(total).toBeGreaterThan(10_000);
    expect(total).toBeLessThan(120_000);
  });

  it('shows the purchase before it asks, takes the details, shows progress and ends with endpoint and key', async () => {
    await open();
    await heading('What you bought');
    await text('Team 10 TiB');
    await text('1 TiB a month');
    expect(await page.title()).toBe('Set up your storage — Berth');

    await fill('Archive', 'sam@archive.example');
    server.session = sampleSession({ state: 'provisioning', progress });
    await button('Set up my storage').click();
    await text('Your storage is being created and started.');
    await page.getByRole('list', { name: 'Step 2 of 5' }).waitFor();
    expect(await page.locator('[aria-current="step"]').textContent()).toMatch(
      /Creating your storage.*your storage to start.*since \d\d:\d\d/,
    );
    expect(server.received).toEqual([
      { organisation: 'Archive', region: 'neu', contactName: 'Sam Sample', contactEmail: 'sam@archive.example' },
    ]);
    // The focus follows the page, so that a keyboard or screen reader user is not left on a vanished button.
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('We are setting up your storage');

    await page.reload();
    await text('Your storage is being created and started.');
    server.session = ready;
    await heading('Your storage is ready');
    await text(endpoint.url);
    await text('Copy your keys now');
    const key = page.getByRole('group', { name: 'Access key (key1)' });
    expect(await key.textContent()).not.toContain('c2FtcGxlLWtleQ==');
    await button('Show Access key (key1)').click();
    expect(await key.textContent()).toContain('c2FtcGxlLWtleQ==');
    expect(await page.getByRole('region', { name: 'Program that stores a file' }).textContent()).toContain(`"${endpoint.url}"`);
    expect(await page.getByRole('link', { name: 'Manage in the Azure portal' }).getAttribute('href')).toMatch(
      /^https:\/\/portal\.azure\.com\//,
    );
  });

  it('keeps the keys on the screen when the window is looked at again, and says so when they were shown before', async () => {
    server.session = ready;
    await open();
    await button('Show Access key (key1)').click();
    const reads = server.reads;
    await page.evaluate(() => window.dispatchEvent(new Event('visibilitychange')));
    // Two round trips later a request that the event had set off would have arrived.
    await page.evaluate(async () => {
      for (let trip = 0; trip < 2; trip += 1) await fetch('/portal-assets/favicon.svg', { cache: 'no-store' });
    });
    expect(server.reads).toBe(reads);
    await text('c2FtcGxlLWtleQ==');

    await button('Show API key').click();
    await page.reload();
    await text('Your access keys are not shown here');
    expect(await page.getByText('c2FtcGxlLWtleQ==').count()).toBe(0);
  });

  it('says at each field what is wrong, before anything is sent', async () => {
    await open();
    await fill('A', 'sam@archive');
    await button('Set up my storage').click();
    await text('Use at least 2 characters');
    expect(await problemOf('Organisation')).toContain('Use at least 2 characters');
    expect(await problemOf('Contact e-mail')).toContain('Enter an e-mail address such as');
    expect(await page.getByLabel('Organisation').getAttribute('aria-invalid')).toBe('true');
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('organisation');
    await page.getByLabel('Organisation').fill('x'.repeat(81));
    await button('Set up my storage').click();
    await text('Use at most 80 characters');
    expect(server.received).toEqual([]);
  });

  it('puts the objections of the server at their fields', async () => {
    server.detailsRefusal = {
      status: 400,
      problem: {
        code: 'landing.details_invalid',
        detail: 'One field needs another look.',
        errors: [{ field: 'contactEmail', message: 'This mail domain does not exist' }],
      },
    };
    await open();
    await fill('Archive', 'sam@archive.example');
    await button('Set up my storage').click();
    await text('One field needs another look.');
    expect(await problemOf('Contact e-mail')).toContain('This mail domain does not exist');
    expect(await page.getByLabel('Organisation').inputValue()).toBe('Archive');
  });

  it('goes on without a complaint when another tab has given the details already', async () => {
    await open();
    await fill('Archive', 'sam@archive.example');
    server.detailsRefusal = { status: 409, problem: { code: 'landing.already_completed', detail: 'The details are known.' } };
    server.session = sampleSession({ state: 'activating', progress: progressAt(4, { message: 'We have told Azure Marketplace.' }) });
    await button('Set up my storage').click();
    await text('We have told Azure Marketplace.');
  });

  it('keeps what was entered when the server cannot be reached', async () => {
    await open();
    await fill('Archive', 'sam@archive.example');
    await server.vanish();
    await button('Set up my storage').click();
    await text('Your details were not sent');
    expect(await page.getByLabel('Organisation').inputValue()).toBe('Archive');
    await server.start();
    server.session = sampleSession({ state: 'provisioning', progress });
    await button('Set up my storage').click();
    await text('Your storage is being created and started.');
  });

  it('says that it reconnects while the server is away, and goes on when it is back', async () => {
    server.session = sampleSession({ state: 'provisioning', progress });
    await open();
    await text('Your storage is being created and started.');
    await server.vanish();
    await text('Reconnecting…');
    await text('Your storage is being created and started.');
    server.session = sampleSession({ state: 'provisioning', progress: progressAt(3, { message: 'We write a small object.' }) });
    await server.start();
    await text('We write a small object.');
    await page.getByText('Reconnecting…').waitFor({ state: 'detached' });
  });

  it('shows a step that a newer server has made up', async () => {
    const stages: LandingProgress['stages'] = [{ code: 'polishing' as 'planning', title: 'Polishing', state: 'current' }];
    server.session = sampleSession({
      state: 'provisioning',
      progress: progressAt(1, { code: 'setup.polishing', message: 'We polish it.', stages }),
    });
    await open();
    await text('We polish it.');
    await page.getByRole('list', { name: 'Step 1 of 1' }).waitFor();
  });

  it.each([
    ['suspended', 'Your subscription is suspended'],
    ['ended', 'Your subscription has ended'],
    ['failed', 'Your storage could not be set up'],
  ] as const)('has a screen of its own for a subscription that is %s', async (state, title) => {
    server.session = sampleSession({
      state,
      marketplace: 'aws',
      problem: { code: `subscription.${state}`, detail: 'A reason in plain words.', remedy: 'A way out.' },
    });
    await open();
    await heading(title);
    await text('A reason in plain words.');
    await text('A way out.');
    // The session's id is a key to this page and stays out of what a buyer mails around; the reference opens nothing.
    const mail = await page.getByRole('link', { name: 'Write to support' }).getAttribute('href');
    expect(mail).not.toContain(SESSION_ID);
    expect(mail).toContain(server.session.support.reference);
    await text(server.session.support.reference);
    expect(await page.getByText(/Azure|Google/).count()).toBe(0);
  });

  it('says after the end how long the data is kept, and shows the way to it while it can be read', async () => {
    const until = '2027-03-09T10:00:00Z';
    server.session = sampleSession({ state: 'ended', keptData: { until, export: 'open', readableUntil: null } });
    await open();
    await text('at least. If you still need it, write to us');
    expect(await page.getByText('Endpoint').count()).toBe(0);
    server.session = sampleSession({
      state: 'ended',
      keptData: { until, export: 'open', readableUntil: until },
      endpoint: { url: 'https://read.example/acct', accountName: 'acct', keys: [{ id: 'k1', secret: 'c2VjcmV0' }], keysShownOnce: true },
    });
    await page.reload();
    await text('Nothing can be written.');
    await text('https://read.example/acct');
    await page.getByRole('button', { name: 'Show Access key (k1)' }).click();
    await text('c2VjcmV0');
  });

  it('asks who is there where the seller wants to know, waits for his word and goes on by itself', async () => {
    server.session = sampleSession({ state: 'needs_access', access: { state: 'needed', askedAt: null, reason: null } });
    await page.goto(`${server.url}/landing/s/${SESSION_ID}`);
    await page.getByRole('button', { name: 'Ask for access' }).click();
    await page.getByText('is needed').first().waitFor();
    expect(server.claims).toEqual([]);
    await page.getByLabel('Your name').fill('Ada Example');
    await page.getByLabel('Your e-mail').fill('ada@archive.example');
    await page.getByRole('button', { name: 'Ask for access' }).click();
    await page.getByText('Your request is with the seller').waitFor();
    expect(server.claims).toEqual([{ name: 'Ada Example', email: 'ada@archive.example', message: '' }]);
    server.session = sampleSession();
    await page.getByRole('button', { name: 'Set up my storage' }).waitFor();
  });

  it('offers to sign in first, tells who is signed in with the wrong account, and what went wrong on the way', async () => {
    const startUrl = `/landing/sign-in/start/${SESSION_ID}`;
    const access = { state: 'needed', askedAt: null, reason: null } as const;
    server.session = sampleSession({ state: 'needs_access', access, signIn: { startUrl, signedInAs: null } });
    await page.goto(`${server.url}/landing/s/${SESSION_ID}?signIn=declined`);
    await heading('Sign in to go on');
    await text('You did not sign in. Nothing has changed.');
    expect(await page.getByRole('link', { name: 'Sign in with Microsoft' }).getAttribute('href')).toBe(startUrl);
    await text('You cannot sign in with that account? Ask the seller.');
    server.session = sampleSession({ state: 'needs_access', access, signIn: { startUrl, signedInAs: 'bo@elsewhere.example' } });
    await page.goto(`${server.url}/landing/s/${SESSION_ID}?signIn=<b>odd</b>`);
    await text('You are signed in as bo@elsewhere.example.');
    expect(await page.getByRole('link', { name: 'Use another account' }).getAttribute('href')).toBe(`${startUrl}?choose=1`);
    expect(await page.getByText('odd').count()).toBe(0);
  });

  it('lets a later visit ask for the keys, and tells when it is declined', async () => {
    server.session = {
      ...ready,
      apiKey: null,
      endpoint: { ...endpoint, keys: null },
      access: { state: 'needed', askedAt: null, reason: null },
    };
    await page.goto(`${server.url}/landing/s/${SESSION_ID}`);
    await page.getByLabel('Your name').fill('Bo Example');
    await page.getByLabel('Your e-mail').fill('bo@archive.example');
    server.claimRefusal = { status: 409, problem: { code: 'claim.too_many', detail: 'Others have asked already.' } };
    await page.getByRole('button', { name: 'Ask for the keys' }).click();
    await page.getByText('Others have asked already.').waitFor();
    server.claimRefusal = null;
    await page.getByRole('button', { name: 'Ask for the keys' }).click();
    await page.getByText('Your request is with the seller').waitFor();
    server.session = { ...server.session, access: { state: 'rejected', askedAt: null, reason: 'Ask your purchasing department' } };
    await page.getByText('Ask your purchasing department').waitFor();
  });

  it('tells a session that has timed out from a server that is away', async () => {
    server.refusal = { status: 410, problem: { code: 'landing.session_expired', detail: 'The session has expired.' } };
    await open();
    await heading('This page has timed out');
  });
});

describe('the problem page', () => {
  it.each([
    ['azure', 'Configure account'],
    ['aws', 'Set up your account'],
    ['gcp', 'Manage on provider'],
  ])('tells a buyer from %s how to come back with a fresh link', async (marketplace, words) => {
    await page.goto(`${server.url}/landing/problem?code=landing.token_expired&marketplace=${marketplace}`);
    await heading('This link has expired');
    await text(new RegExp(words));
  });

  it('shows nothing of what someone wrote into the address', async () => {
    await page.goto(`${server.url}/landing/problem?code=Call%20555&marketplace=Evil`);
    await heading('We cannot see which purchase this is');
    expect(await page.locator('body').textContent()).not.toMatch(/555|Evil/);
  });
});
