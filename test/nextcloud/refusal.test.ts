import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isRefusal } from '../../src/nextcloud/refusal.js'

const OCS: object = { ocs: { meta: { status: 'failure', statuscode: 997, message: 'Unauthorised' }, data: [] } }
const SABRE = (exception: string, message: string) =>
  `<?xml version="1.0" encoding="utf-8"?>\n<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">\n  <s:exception>${exception}</s:exception>\n  <s:message>${message}</s:message>\n</d:error>\n`
const NOT_AUTHENTICATED = 'Sabre\\DAV\\Exception\\NotAuthenticated'

const verdictOn = (body: string, patience = 1_000) => isRefusal(new Response(body, { status: 401 }), patience)

interface Exchange {
  readonly id: string
  /** Its place among the responses. */
  readonly response: number
}
const { exchanges, responses } = JSON.parse(readFileSync('test/fixtures/nextcloud-32.json', 'utf8')) as {
  readonly exchanges: readonly Exchange[]
  readonly responses: readonly { readonly status: number; readonly body: unknown }[]
}
const bodyOf = ({ response }: Exchange) => {
  const body = responses[response]?.body
  return typeof body === 'string' ? body : JSON.stringify(body)
}

describe('a 401 that Nextcloud gives to a dead app password', () => {
  const dead = exchanges.filter(
    ({ id, response }) =>
      responses[response]?.status === 401 &&
      /(?:account-disabled-app-password|app-password-deleted|password-changed-checked)$/.test(id),
  )

  it.each(dead.map((exchange) => [exchange.id, exchange] as const))('is its verdict: %s', async (_, exchange) => {
    expect(await verdictOn(bodyOf(exchange))).toBe(true)
  })

  it('is one on OCS, WebDAV and app routes', () => {
    for (const start of ['ocs.', 'dav.', 'notes.']) expect(dead.some(({ id }) => id.startsWith(start))).toBe(true)
  })

  it('is one in XML too', async () => {
    const xml = '<?xml version="1.0"?>\n<ocs>\n <meta>\n  <statuscode>997</statuscode>\n </meta>\n <data/>\n</ocs>\n'
    expect(await verdictOn(xml)).toBe(true)
    expect(await verdictOn(xml.replace('997', '998'))).toBe(false)
    expect(await verdictOn(xml.replace(' </meta>', '<message>Unauthorised</message></meta>'))).toBe(true)
  })
})

describe('a 401 that says nothing of an app password', () => {
  it.each([
    ['nothing', ''],
    ['the page of a proxy', '<html><h1>401 Authorization Required</h1></html>'],
    ['a page that speaks of it', '<html><statuscode>997</statuscode></html>'],
    ['JSON of a proxy', '{"error":"unauthorized"}'],
    ['an app route that was asked without credentials', '{"message":"Current user is not logged in"}'],
    ['an app route for other reasons', '{"message":"CORS requires basic auth"}'],
    ['an app with more to say', '{"message":"","code":7}'],
    ['another code of OCS', JSON.stringify(OCS).replace('997', '401')],
    ['an app with a sign-in of its own', JSON.stringify(OCS).replace('Unauthorised', 'AppAPI authentication failed')],
    ['the same in XML', '<ocs><meta><statuscode>997</statuscode><message>AppAPIAuth failed</message></meta></ocs>'],
    ['an envelope without meta', '{"ocs":null}'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a header that was lost on the way', SABRE(NOT_AUTHENTICATED, "No 'Authorization: Basic' header found.")],
    [
      'another exception',
      SABRE('OCA\\DAV\\Connector\\Sabre\\Exception\\PasswordLoginForbidden', 'Password login forbidden'),
    ],
    ['more than 64 KiB', JSON.stringify({ ...OCS, more: 'x'.repeat(65_536) })],
  ])('is no verdict: %s', async (_, body) => {
    expect(await verdictOn(body)).toBe(false)
  })
})

describe('an answer that was looked at', () => {
  it('has its whole body, however long', async () => {
    for (const body of [JSON.stringify(OCS), 'x'.repeat(300_000)]) {
      const answer = new Response(body, { status: 401 })
      await isRefusal(answer, 1_000)
      expect(await answer.text()).toBe(body)
    }
  })

  it('is not waited for longer than that, and goes on afterwards', async () => {
    let finish = (): void => undefined
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from('begin'))
        finish = () => {
          controller.enqueue(Buffer.from(' and end'))
          controller.close()
        }
      },
    })
    const answer = new Response(stream, { status: 401 })
    expect(await isRefusal(answer, 20)).toBe(false)
    finish()
    expect(await answer.text()).toBe('begin and end')
  })

  it('may break off', async () => {
    const stream = new ReadableStream({ start: (controller) => controller.error(new Error('reset')) })
    expect(await isRefusal(new Response(stream, { status: 401 }), 1_000)).toBe(false)
  })
})

it('a 401 without a body says nothing of an app password', async () => {
  expect(await isRefusal(new Response(null, { status: 401 }), 1_000)).toBe(false)
})
