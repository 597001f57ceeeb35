// A reviewer in a real browser: signs in with the one-time link, opens a thread, writes a note, clicks.
//
//   argv[2]   {"sign_in_url": "...", "thread": "THR-..." (absent: the first in the list), "note": "...",
//              "click": "Approve" | "Reject", "screenshots": "FOLDER"}
//   stdout    one JSON line per event: signed_in, opened, clicked, console (messages of the page that are errors), error, closed
//
// Elements are found the way a person or a screen reader finds them, by role and name; threads by where they lead, since
// the list shows titles.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const work = JSON.parse(process.argv[2]);
const emit = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const profile = await mkdtemp(join(tmpdir(), 'holdpoint-browser-'));

async function shot(page, name) {
  if (!work.screenshots) return null;
  const path = join(work.screenshots, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  return path;
}

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
context.setDefaultTimeout(15_000);

let failed = false;
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on('console', (message) => {
    if (message.type() === 'error') emit({ event: 'console', message: message.text() });
  });
  page.on('pageerror', (error) => emit({ event: 'console', message: String(error) }));

  await page.goto(work.sign_in_url);
  const confirm = page.getByRole('button', { name: /sign in/i });
  if (await confirm.isVisible()) await confirm.click();
  const threads = page.locator(`main a[href${work.thread ? `="/threads/${work.thread}"` : '^="/threads/"'}]`);
  await threads.first().waitFor();
  emit({ event: 'signed_in', url: page.url(), title: await page.title(), screenshot: await shot(page, 'inbox') });

  await threads.first().click();
  const button = page.getByRole('button', { name: new RegExp(`^${work.click}`, 'i') });
  await button.waitFor();
  emit({
    event: 'opened',
    url: page.url(),
    text: await page.locator('main').innerText(),
    screenshot: await shot(page, 'thread'),
  });

  if (work.note) await page.getByRole('textbox', { name: /note|reason/i }).first().fill(work.note);
  await button.click();
  await button.waitFor({ state: 'detached' });
  emit({
    event: 'clicked',
    url: page.url(),
    text: await page.locator('main').innerText(),
    screenshot: await shot(page, 'decided'),
  });
} catch (error) {
  failed = true;
  const page = context.pages()[0];
  emit({
    event: 'error',
    message: String(error.message ?? error),
    url: page?.url() ?? null,
    screenshot: page ? await shot(page, 'error').catch(() => null) : null,
  });
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
emit({ event: 'closed' });
process.exit(failed ? 1 : 0);
