import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { sendPage } from '../../src/connect/pages/document.js'
import { launchChromium } from './chromium.js'
import { everyPage } from './connect-pages.js'
import { listen } from './hosts.js'
import { everySignInPage } from './sign-in-pages.js'

/** How the pages are looked at. A phone's picture is as sharp as a phone, the others are as small as they can be. */
const LOOKS = [
  { look: 'light', colorScheme: 'light', viewport: { width: 540, height: 400 } },
  { look: 'dark', colorScheme: 'dark', viewport: { width: 540, height: 400 } },
  { look: 'phone', colorScheme: 'light', viewport: { width: 320, height: 480 } },
] as const

/** Takes a picture of every page that a user may see while connecting Nextcloud, or signing in with it: `npm run screenshots`. */
const folder = path.resolve(import.meta.dirname, '../../docs/screenshots')
await rm(folder, { recursive: true, force: true })
await mkdir(folder, { recursive: true })

// The variants with a part left out show nothing new.
const pages = [...everyPage(), ...everySignInPage()].filter(([name]) => !name.includes(' '))
let shown = pages[0]?.[1]
const app = await listen((req, res) => {
  // It has to stay where it is to be looked at.
  if (shown !== undefined) sendPage(req, res, { status: shown.status, html: shown.html })
})
const browser = await launchChromium()
for (const { look, ...options } of LOOKS) {
  const page = await browser.newPage(options)
  for (const [name, content] of pages) {
    shown = content
    await page.goto(app.url)
    const file = `${name.replaceAll('.', '-').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}-${look}.png`
    await page.screenshot({ path: path.join(folder, file), fullPage: true })
  }
  await page.close()
}
await browser.close()
await app.close()
