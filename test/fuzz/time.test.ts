import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createFlowCookies } from '../../src/connect/cookies.js'
import { readForm } from '../../src/connect/form.js'
import { preferredLanguage } from '../../src/connect/pages/languages.js'
import { createPages } from '../../src/connect/pages/pages.js'
import { parseToken } from '../../src/http/bearer.js'
import { readTokenEndpointAnswer } from '../../src/authorization-server/token-answer.js'
import { isRefusal } from '../../src/nextcloud/refusal.js'
import { resolvePath } from '../../src/nextcloud/nextcloud-path.js'
import { plainWords } from '../support/connect-pages.js'
import { world } from '../support/world.js'
import { requestOf } from './support/exchange.js'
import { anyText, fuzz } from './support/fuzz.js'

/** Characters of the short input, and how many times as many the long one has. */
const SHORT = 4_000
const TIMES = 16
/** The square of `TIMES` is 256: half of that is more than any busy machine makes of what is linear, the best of several times. */
const MOST_TIMES = 128
/** Milliseconds below which nothing is said. */
const NOISE = 100

/** Texts that repeat a part, as inputs do that make a pattern go back and forth. */
const repeated = fc
  .tuple(
    anyText(4),
    fc.oneof(
      fc.constantFrom(
        'a',
        ' ',
        '\t',
        '=',
        ';',
        '&',
        'a&',
        '%',
        '%2',
        '/',
        '.',
        './',
        '<',
        '"',
        '\\',
        ',',
        '-',
        'a.',
        ' a',
        '<a>',
        '{"a":',
        '[',
        '\u0301',
        '=;',
        '%2e',
      ),
      anyText(3),
    ),
    anyText(4),
  )
  .filter(([, part]) => part.length > 0)

/** Returns the milliseconds of the fastest of so many attempts. */
async function best(run: () => unknown, attempts: number): Promise<number> {
  let least = Infinity
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const start = performance.now()
    await run()
    least = Math.min(least, performance.now() - start)
  }
  return least
}

const { auth } = await world({ mode: 'none' })
const cookies = createFlowCookies(true)
const secret = 's'.repeat(40)
const quiet = (run: () => unknown) => {
  try {
    return run()
  } catch {
    return undefined
  }
}
const READERS: Readonly<Record<string, (text: string) => unknown>> = {
  'Authorization header': (text) => quiet(() => parseToken(`Bearer ${text}`, 'bearer ')),
  token: (text) => auth.verify(text).catch(() => undefined),
  'JWT-like token': (text) => auth.verify(`eyJhbGciOiJFUzI1NiJ9.${text}.AA`).catch(() => undefined),
  cookies: (text) => cookies.issue(requestOf({ headers: [['Cookie', text]] }), 'flow'),
  form: (text) =>
    readForm(
      requestOf({ method: 'POST', headers: [['Content-Type', 'application/x-www-form-urlencoded']], parsed: text }),
    ),
  path: (text) => quiet(() => resolvePath(new URL('https://cloud.example.com/'), text)),
  'refusal of Nextcloud': (text) => isRefusal(new Response(text, { status: 401 }), 10_000),
  'refusal in XML': (text) => isRefusal(new Response(`<ocs>${text}`, { status: 401 }), 10_000),
  'words of the authorization server': (text) =>
    quiet(() =>
      readTokenEndpointAnswer(
        { status: 400, body: new Uint8Array(Buffer.from(JSON.stringify({ error: 'x', error_description: text }))) },
        [secret, text.slice(0, 20)],
      ),
    ),
  'Accept-Language': (text) => preferredLanguage(text),
  'name on a page': (text) => createPages({ ...plainWords, serverName: text }),
}

it.each(Object.entries(READERS))('%s: reading it takes linear time, whatever it repeats', async (_name, read) => {
  await fuzz(
    fc.asyncProperty(repeated, async ([before, part, after]) => {
      const text = (length: number): string => before + part.repeat(Math.ceil(length / part.length)) + after
      const long = text(SHORT * TIMES)
      const took = await best(() => read(long), 1)
      if (took < NOISE) return
      const short = text(SHORT)
      const base = await best(() => read(short), 5)
      const most = Math.max(base, NOISE / TIMES) * MOST_TIMES
      if (took < most) return
      expect(await best(() => read(long), 5), JSON.stringify([before, part, after])).toBeLessThan(most)
    }),
  )
})
