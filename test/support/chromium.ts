import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { chromium, type Browser, type Page } from 'playwright-core'
import { expect, it, TestRunner } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    leftOut?: string[]
  }
}

/** Where Chromium is on this machine, or undefined. */
export function chromiumProgram(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter)
  return ['chromium', 'chromium-browser', 'google-chrome']
    .flatMap((name) => folders.map((folder) => path.join(folder, name)))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/**
 * Whether the suites that come next have a browser. Where they have not, the closing lines of the run say so, and where
 * nothing may be left out (`CI` is set) there is a test that fails.
 */
export function hasChromium(): boolean {
  if (chromiumProgram() !== undefined) return true
  const reason = 'chromium is not on this machine'
  if (process.env['CI']) {
    it('Chromium is there, since CI leaves nothing out', () => {
      expect.fail(reason)
    })
  } else {
    const { meta } = TestRunner.getCurrentSuite().file
    ;(meta.leftOut ??= []).push(`Chromium (${reason})`)
  }
  return false
}

/** Starts a browser without a window. */
export function launchChromium(): Promise<Browser> {
  const executablePath = chromiumProgram()
  if (executablePath === undefined) throw new Error('chromium is not on this machine')
  // Root, as in a container, has no sandbox to use; and a container's /dev/shm is small.
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath, args: [...asRoot, '--disable-dev-shm-usage'] })
}

/** What the browser complains of from now on: errors, warnings and breaches of the Content-Security-Policy. */
export function complaintsOf(page: Page): readonly string[] {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  return complaints
}

/**
 * Runs JavaScript beside a page, in a world of its own: the page's policy, which forbids all script, stays in force.
 *
 * @param expressions run one after the other; the last one's value, or what it resolves to, is the result
 */
export async function besidePage(page: Page, ...expressions: readonly string[]): Promise<unknown> {
  const session = await page.context().newCDPSession(page)
  const { frameTree } = await session.send('Page.getFrameTree')
  const world = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id })
  let value: unknown
  for (const [index, expression] of expressions.entries()) {
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
      expression,
      contextId: world.executionContextId,
      awaitPromise: true,
      // Only the last value has to be one that can be sent.
      returnByValue: index === expressions.length - 1,
    })
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    value = result.value
  }
  await session.detach()
  return value
}
