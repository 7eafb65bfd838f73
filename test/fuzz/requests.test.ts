import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { createFlowCookies } from '../../src/connect/cookies.js'
import { readForm } from '../../src/connect/form.js'
import { world, type World } from '../support/world.js'
import { handOver, requestOf } from './support/exchange.js'
import { anyText, fuzz } from './support/fuzz.js'

let bed: World
let good: string
beforeAll(async () => {
  bed = await world({ mode: 'refresh-token' })
  bed.as.metadata['authorization_endpoint'] = `${bed.as.issuer}/authorize`
  good = await bed.as.mint()
  await bed.auth.verify(good)
  return bed.close
})

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values)

describe('the Authorization header', () => {
  const nearToken = fc
    .tuple(
      oneOf('', ' ', '\t', '\u00A0', 'x'),
      oneOf('Bearer', 'bEaReR', 'DPoP', 'Basic', 'Bearer:'),
      oneOf(' ', '  ', '\t', '', '\u00A0'),
    )
    .chain(([before, scheme, space]) =>
      fc
        .tuple(
          oneOf(good, `${good}=`, good.slice(1), ''),
          oneOf('', ' ', ',', '\t', '\u00A0', '\0', ', Bearer x', '"'),
          anyText(4),
        )
        .map(([token, after, more]) => `${before}${scheme}${space}${token}${after}${more}`),
    )
  const exact = oneOf(0, 1, 2).map((spaces) => `Bearer ${' '.repeat(spaces)}${good}`)
  const header = fc.oneof({ arbitrary: nearToken, weight: 3 }, { arbitrary: exact, weight: 2 }, anyText())
  const headers = fc.array(fc.tuple(oneOf('Authorization', 'authorization', 'X-Authorization', 'Cookie'), header), {
    maxLength: 3,
  })

  it('lets nothing in but one good token, and never fails', async () => {
    await fuzz(
      fc.asyncProperty(headers, oneOf('GET', 'POST', 'OPTIONS', 'HEAD'), async (given, method) => {
        const came = await handOver(bed.auth, { method, headers: given })
        expect(came.error).toBeUndefined()
        const fields = given.filter(([name]) => name.toLowerCase() === 'authorization').map(([, value]) => value)
        const [, token] = /^[ \t]*bearer +[ \t]*([^\s,]+)[ \t]*$/i.exec(fields[0] ?? '') ?? []
        expect(came.passed).toBe(fields.length === 1 && token === good)
        const behind = /^[ \t]*(?:bearer|dpop) +[ \t]*([^]*?)[ \t]*$/i.exec(fields[0] ?? '')?.[1] ?? ''
        const isMerged = fields.length > 1 || /[ \t,]/.test(behind)
        if (!came.passed) expect(came.status).toBe(isMerged ? 400 : 401)
        expect(String(came.headers['www-authenticate'] ?? '')).toMatch(/^[\x20-\x7E]*$/)
      }),
    )
  })
})

describe('the routes', () => {
  const path = fc.oneof(
    oneOf(
      '/nextcloud',
      '/nextcloud/connect',
      '/nextcloud/callback',
      '/nextcloud/disconnect',
      '/nextcloud/login',
      '/nextcloud/',
    ),
    oneOf('/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp'),
    anyText(30),
  )
  const query = fc.array(fc.tuple(oneOf('ticket', 'state', 'code', 'iss', 'error', 'login', 'response'), anyText(20)), {
    maxLength: 4,
  })
  const text = fc.oneof(
    anyText(),
    fc.webQueryParameters(),
    oneOf('token=x&token=y', 'token=%', 'do=disconnect&token=1'),
  )
  const header = fc.tuple(
    oneOf('Cookie', 'Content-Type', 'Origin', 'Sec-Fetch-Site', 'Host', 'Content-Length', 'Accept', 'X-Forwarded-Host'),
    fc.oneof(
      anyText(20),
      oneOf('application/x-www-form-urlencoded', 'https://mcp.example.com', 'null', '__Host-mcp-nextcloud-a=b'),
    ),
  )

  it('never answer that this server has failed, whatever a stranger sends', async () => {
    const routes = bed.auth.routes()
    const sent = fc.record({
      method: oneOf('GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'X'),
      path,
      query,
      text,
      headers: fc.array(header, { maxLength: 4 }),
    })
    await fuzz(
      fc.asyncProperty(sent, async ({ method, path, query, text, headers }) => {
        const search = query
          .map(([name, value]) => `${name}=${encodeURIComponent(value.replace(/\p{Surrogate}/gu, ''))}`)
          .join('&')
        const came = await handOver(routes, { method, url: `${path}?${search}`, headers, body: text })
        expect(came.error).toBeUndefined()
        if (!came.passed) expect(came.status).toBeLessThan(500)
        if ('location' in came.headers) expect(String(came.headers['location'])).toMatch(/^https?:\/\//)
        for (const value of Object.values(came.headers).flat()) expect(String(value)).not.toMatch(/[\r\n\0]/)
      }),
    )
  })
})

describe('a form', () => {
  const type = fc.oneof(
    oneOf('application/x-www-form-urlencoded', 'APPLICATION/X-WWW-FORM-URLENCODED ; charset=x', 'text/plain', ''),
    anyText(20),
  )
  const body = fc.oneof(
    anyText(),
    fc.webQueryParameters(),
    oneOf('token=a&token=b', 'token=a&answer=yes&do=x', `token=${'x'.repeat(17_000)}`),
  )
  const parsed = fc.oneof(
    fc.jsonValue(),
    fc.constant(undefined),
    body,
    body.map((text) => Buffer.from(text)),
    fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true }),
  )

  it('has the fields that stand in it once, in whichever way it was parsed, and no others', async () => {
    await fuzz(
      fc.asyncProperty(type, body, parsed, async (contentType, text, left) => {
        const headers = [['content-type', contentType]] as const
        const form = await readForm(requestOf({ method: 'POST', headers, body: text }))
        const isForm =
          contentType
            .split(';')[0]
            ?.replace(/^[ \t]+|[ \t]+$/g, '')
            .toLowerCase() === 'application/x-www-form-urlencoded'
        const isRead = isForm && Buffer.byteLength(text) <= 16_384
        expect(form !== undefined).toBe(isRead)
        for (const name of ['token', 'answer', 'do', 'ticket']) {
          const values = new URLSearchParams(Buffer.from(text).toString()).getAll(name)
          const counts = isRead && values.length === 1 && name !== 'ticket'
          expect(form?.get(name)).toBe(counts ? values[0] : undefined)
        }
        const again = await readForm(requestOf({ method: 'POST', headers, parsed: left }))
        for (const value of again?.values() ?? []) expect(typeof value).toBe('string')
      }),
    )
  })
})

describe('a cookie', () => {
  const cookies = createFlowCookies(true)
  const name = oneOf(
    '__Host-mcp-nextcloud-aaaaaaaa',
    'mcp-nextcloud-aaaaaaaa',
    '__Host-mcp-nextcloud-b',
    '__host-mcp-nextcloud-aaaaaaaa',
  )
  const planted = anyText(20).map((text) => `__Host-mcp-nextcloud-${text}`)
  const pair = fc
    .tuple(fc.oneof(name, planted, anyText(20)), oneOf('=', '==', ''), anyText(20))
    .map((parts) => parts.join(''))
  const header = fc.oneof(
    fc.array(pair, { maxLength: 30 }).chain((pairs) => oneOf('; ', ';', ' ;').map((by) => pairs.join(by))),
    anyText(200),
  )

  it('counts only under the very name of its flow, and nothing that was brought splits an answer', async () => {
    await fuzz(
      fc.property(header, (given) => {
        const req = requestOf({ headers: [['Cookie', given]] })
        const trimmed = (text: string) => text.replace(/^[ \t]+|[ \t]+$/g, '')
        const expected = given
          .split(';')
          .filter(
            (one) => one.includes('=') && trimmed(one.slice(0, one.indexOf('='))) === '__Host-mcp-nextcloud-aaaaaaaa',
          )
          .map((one) => trimmed(one.slice(one.indexOf('=') + 1)))
        expect(cookies.values(req, 'aaaaaaaa')).toEqual(expected)
        const { headers } = cookies.issue(req, 'cccccccc')
        expect(headers.length).toBeLessThanOrEqual(17)
        for (const line of headers)
          expect(line).toMatch(
            /^__Host-mcp-nextcloud-[\w-]+=[\w-]*; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
          )
      }),
    )
  })
})
