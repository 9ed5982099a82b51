/**
 * People in front of browsers: Chromium through playwright-core, Firefox through puppeteer-core, both
 * behind the same few verbs, so that one test is told once for both.
 *
 * A guest remembers everything that its page complained about: errors in the console, exceptions,
 * violations of the content policy, and requests to any other place than the page's own.
 */

import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

/** Longest a page may take for anything, in milliseconds; the machine may be busy. */
const PATIENCE_MS = 30_000;

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
const FIREFOX = process.env.FIREFOX_BIN ?? '/usr/bin/firefox-esr';

function binary(path) {
  if (existsSync(path)) return path;
  throw new Error(`no browser at ${path}: install it with "apt-get install chromium firefox-esr"`);
}

/** Runs in the page before its own scripts: policy violations are events, not always console lines. */
function watchPolicy() {
  globalThis.policyViolations = [];
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => {
    globalThis.policyViolations.push(`policy violation: ${effectiveDirective} ${blockedURI}`);
  });
}

/** What both browsers' guests can do. `page` is Playwright's or Puppeteer's. */
class Guest {
  constructor(page, context) {
    this.page = page;
    this.context = context;
    this.faults = [];
    this.requests = [];
    page.on('console', (message) => {
      if (['error', 'warning', 'warn'].includes(message.type()))
        this.faults.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => this.faults.push(`exception: ${error.message}`));
    page.on('request', (request) => this.requests.push(request.url()));
  }

  async open(url) {
    await this.page.goto(url);
  }

  async reload() {
    await this.page.reload();
  }

  evaluate(act, argument) {
    return this.page.evaluate(act, argument);
  }

  async press(key) {
    await this.page.keyboard.press(key);
  }

  async type(text) {
    await this.page.keyboard.type(text);
  }

  /** The text of an element as a person sees it, white space as written. */
  text(selector) {
    return this.evaluate((one) => document.querySelector(one).textContent.trim(), selector);
  }

  /** Waits until the element is there, visible, and its text matches. */
  async sees(selector, pattern = /^/) {
    const wanted = { selector, source: pattern.source, flags: pattern.flags };
    try {
      await this.until(
        ({ selector: one, source, flags }) =>
          [...document.querySelectorAll(one)].some(
            (element) =>
              element.checkVisibility() && new RegExp(source, flags).test(element.textContent),
          ),
        wanted,
      );
    } catch (error) {
      const screen = await this.evaluate(() => document.body.innerText);
      throw new Error(
        `${this.constructor.name} does not see ${selector} with ${pattern}; the page says:\n${screen}\n${this.faults.join('\n')}`,
        { cause: error },
      );
    }
  }

  /** Everything the page complained about so far, and the violations of its policy. */
  async complaints() {
    const violations = await this.evaluate(
      () => globalThis.policyViolations ?? ['the page was not watched'],
    );
    return [...this.faults, ...violations];
  }

  async leave() {
    await this.context.close();
  }
}

class ChromiumGuest extends Guest {
  async until(condition, argument) {
    await this.page.waitForFunction(condition, argument, { timeout: PATIENCE_MS, polling: 50 });
  }

  async click(selector) {
    await this.page.click(selector, { timeout: PATIENCE_MS });
  }

  async fill(selector, text) {
    await this.page.fill(selector, text, { timeout: PATIENCE_MS });
  }

  async picture(selector) {
    return await this.page.locator(selector).screenshot();
  }
}

/** Firefox draws only the tab in front, so who does something comes to the front first. */
class FirefoxGuest extends Guest {
  async until(condition, argument) {
    const options = { timeout: PATIENCE_MS, polling: 50 };
    await this.page.waitForFunction(condition, options, argument);
  }

  async click(selector) {
    await this.look();
    await this.page.locator(selector).setTimeout(PATIENCE_MS).click();
  }

  async fill(selector, text) {
    await this.look();
    await this.page.locator(selector).setTimeout(PATIENCE_MS).fill(text);
  }

  async press(key) {
    await this.look();
    await super.press(key);
  }

  async type(text) {
    await this.look();
    await super.type(text);
  }

  async look() {
    await this.page.bringToFront();
  }
}

/** Both browsers, started once for a file of tests. */
export class Browsers {
  static async start() {
    const [chromiumPath, firefoxPath] = [binary(CHROMIUM), binary(FIREFOX)];
    const browsers = new Browsers();
    browsers.chromium = await chromium.launch({
      executablePath: chromiumPath,
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
    browsers.firefox = await puppeteer.launch({
      browser: 'firefox',
      executablePath: firefoxPath,
      headless: true,
    });
    return browsers;
  }

  /** A new person with a browser of their own: nothing stored, nothing shared. */
  async guest(kind, options = {}) {
    if (kind === 'firefox') {
      const context = await this.firefox.createBrowserContext();
      const page = await context.newPage();
      await page.evaluateOnNewDocument(watchPolicy);
      return new FirefoxGuest(page, context);
    }
    const context = await this.chromium.newContext({ reducedMotion: 'reduce', ...options });
    await context.addInitScript(watchPolicy);
    return new ChromiumGuest(await context.newPage(), context);
  }

  async stop() {
    await Promise.allSettled([this.chromium?.close(), this.firefox?.close()]);
  }
}
