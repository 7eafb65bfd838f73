import { chromium, type Browser, type Page } from 'playwright-core'
import { findProgram } from './server-process.js'

/** Where Chromium is on this machine, or undefined. */
export function chromiumProgram(): string | undefined {
  return findProgram('chromium') ?? findProgram('chromium-browser') ?? findProgram('google-chrome')
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
