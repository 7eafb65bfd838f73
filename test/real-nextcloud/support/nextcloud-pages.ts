import type { Page } from 'playwright-core'
import type { Account } from './target.js'

/**
 * Signs somebody in at Nextcloud's own pages in a browser, as far as "Grant access", which is left to be pressed.
 *
 * Nextcloud's scripts only send what stands in its pages. Neither the stand-in nor every copy of Nextcloud has them, so it is sent here.
 */
export async function signInAtNextcloud(page: Page, { uid, password }: Account): Promise<void> {
  await page.waitForURL(/\/login\/flow(?!\/grant)/)
  await page.evaluate(`location.href = document.getElementById('login-form').getAttribute('action')`)
  await page.waitForURL(/\/login\?|\/login\/flow\/grant/)
  if (new URL(page.url()).pathname.endsWith('/login')) {
    await page.evaluate(`(given => {
      const form = Object.assign(document.createElement('form'), { method: 'POST', action: location.pathname })
      const { searchParams } = new URL(location.href)
      const own = {
        requesttoken: document.head.dataset.requesttoken,
        redirect_url: searchParams.get('redirect_url') ?? '',
        timezone: 'UTC',
        timezone_offset: '0',
      }
      for (const [name, value] of Object.entries({ ...given, ...own })) {
        form.append(Object.assign(document.createElement('input'), { type: 'hidden', name, value }))
      }
      document.body.append(form)
      form.submit()
    })(${JSON.stringify({ user: uid, password })})`)
  }
  await page.getByRole('button', { name: 'Grant access' }).waitFor()
}
