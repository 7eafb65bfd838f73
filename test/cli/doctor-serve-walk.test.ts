import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { examine } from '../../src/cli/doctor/examine.js'
import { readServeSetUp } from '../../src/cli/doctor/serve.js'
import { createSecrets } from '../../src/cli/secrets.js'
import { systemClock } from '../../src/clock.js'
import { ROOT } from '../support/command.js'

interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string
}
type Changes = Partial<Record<Step, Reply | null>>
type Step = 'register' | 'authorize' | 'page' | 'answer' | 'nextcloud'

const STEPS: readonly (readonly [Step, RegExp])[] = [
  ['register', /^POST \/oauth\/register/],
  ['authorize', /^GET \/oauth\/authorize\?/],
  ['page', /^GET \/page/],
  ['answer', /^POST \/page/],
  ['nextcloud', /^GET \/cloud/],
]

/** What a sign-in meets on its way, where all is well. */
const wayOf = (origin: string): Readonly<Record<Step, Reply>> => ({
  register: { status: 201, body: '{"client_id":"doctor"}' },
  authorize: { status: 303, headers: { location: '/page', 'set-cookie': ['a=1; Path=/', 'b=2; HttpOnly'] } },
  page: { body: '<input name="token" value="page-token">' },
  answer: { headers: { refresh: `0; url=${origin}/cloud` } },
  nextcloud: { body: '<p>Log in' },
})

/** Serves the way of a sign-in. `null` is an answer that does not come. */
async function serveWay(changesOf: (origin: string) => Changes) {
  const asked: { step: Step; cookie: string | undefined; origin: string | undefined; body: string }[] = []
  const server = createServer((req, res) => {
    let body = ''
    req.on('data', (data) => (body += String(data)))
    req.on('end', () => {
      const [step] = STEPS.find(([, form]) => form.test(`${req.method} ${req.url}`)) ?? []
      if (step === undefined) return res.writeHead(404).end()
      const { cookie, origin, host = '' } = req.headers
      const here = `http://${host}`
      asked.push({ step, cookie, origin, body })
      const reply = { ...wayOf(here), ...changesOf(here) }[step]
      if (reply === null) return res.destroy()
      return res.writeHead(reply.status ?? 200, { ...reply.headers } as Record<string, string>).end(reply.body)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const ID = 'i'.repeat(64)
const SECRET = 's'.repeat(64)

/** Lets the doctor sign in there. */
async function walked(changes: Changes | ((origin: string) => Changes) = {}, variables: Record<string, string> = {}) {
  const { origin, asked } = await serveWay(typeof changes === 'function' ? changes : () => changes)
  const environment = {
    NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp`,
    NEXTCLOUD_HOST: `${origin}/cloud`,
    NEXTCLOUD_OIDC_CLIENT_ID: ID,
    NEXTCLOUD_OIDC_CLIENT_SECRET: SECRET,
    MCP_DATA: '/nowhere',
    ...variables,
  }
  const surroundings = { environment, directory: ROOT, clock: systemClock, progress: () => undefined }
  const secrets = createSecrets()
  const { setUp, more } = await readServeSetUp(secrets, surroundings)
  const checks = more.filter(({ id }) => id === 'serve.sign-in')
  const findings = await examine(setUp, secrets, surroundings, checks)
  return { finding: findings.find(({ id }) => id === 'serve.sign-in'), asked, origin }
}

const PROXY = /^let the proxy give this server the whole name/

describe('the sign-in of doctor --serve', () => {
  it('goes the way of a browser, with its cookies and its page, as far as the login page', async () => {
    const { finding, asked, origin } = await walked()

    expect(finding).toMatchObject({
      status: 'passed',
      found: 'a sign-in comes as far as the login page of Nextcloud',
    })
    expect(asked.map(({ step, cookie }) => [step, cookie])).toEqual([
      ['register', undefined],
      ['authorize', undefined],
      ['page', 'a=1; b=2'],
      ['answer', 'a=1; b=2'],
      ['nextcloud', 'a=1; b=2'],
    ])
    expect(asked[3]).toMatchObject({ origin, body: 'token=page-token&answer=yes' })
  })

  it.each<[what: string, changes: Changes, found: RegExp]>([
    ['a client is not registered', { register: { status: 404 } }, /ends at registration \(404\)/],
    ['a registration has no id', { register: { status: 201, body: '{}' } }, /ends at registration \(201\)/],
    ['nothing answers at the authorization endpoint', { authorize: null }, /ends at the authorization endpoint \(/],
    ['the authorization endpoint leads nowhere', { authorize: {} }, /ends at the authorization endpoint \(200\)/],
    ['the page does not come', { page: null }, /ends at the page that asks the person \(/],
    ['another page comes', { page: { body: '<html>' } }, /ends at the page that asks the person \(200, an HTML page\)/],
    ['the yes is refused', { answer: { status: 403 } }, /ends at the way to Nextcloud \(403\)/],
    ['the yes leads elsewhere', { answer: { headers: { refresh: '5' } } }, /ends at the way to Nextcloud \(200\)/],
  ])('tells where it ends: %s', async (_what, changes, found) => {
    expect((await walked(changes)).finding).toMatchObject({
      status: 'failed',
      found: expect.stringMatching(found) as string,
      fix: expect.stringMatching(PROXY) as string,
    })
  })

  it('is left out where too many clients have registered', async () => {
    expect((await walked({ register: { status: 429 } })).finding).toMatchObject({
      status: 'left-out',
      found: 'too many clients have registered just now',
      fix: 'try again in an hour',
    })
  })

  it('is left out where nothing answers, or Nextcloud cannot be reached from here', async () => {
    expect((await walked({ register: null })).finding).toMatchObject({
      status: 'left-out',
      found: expect.stringMatching(/^no answer from http:\/\/127\.0\.0\.1:\d+ \(/) as string,
    })
    expect((await walked({ nextcloud: null })).finding).toMatchObject({
      status: 'left-out',
      found: expect.stringMatching(/^Nextcloud cannot be reached from here by its public name \(/) as string,
    })
  })

  it('takes a login page that Nextcloud redirects to, at the address that people open', async () => {
    const changes = { nextcloud: { status: 303, headers: { location: 'https://cloud.example.com/login' } } }
    const variables = { NEXTCLOUD_PUBLIC_URL: 'https://cloud.example.com' }
    expect((await walked(changes, variables)).finding).toMatchObject({ status: 'passed' })
    expect((await walked(changes)).finding).toMatchObject({
      status: 'failed',
      found: expect.stringContaining('sends browsers on to https://cloud.example.com') as string,
    })
    expect((await walked({ nextcloud: { status: 303, headers: { location: '/login' } } })).finding?.status).toBe(
      'passed',
    )
  })

  it.each([undefined, 'https://cloud.example.com'])(
    'tells that Nextcloud (NEXTCLOUD_PUBLIC_URL %s) sends the browser back, and not to its login page',
    async (address) => {
      const changes = (origin: string) => ({
        nextcloud: { status: 303, headers: { location: `${origin}/nextcloud/callback?error=x` } },
      })
      const { finding } = await walked(changes, address === undefined ? {} : { NEXTCLOUD_PUBLIC_URL: address })
      expect(finding).toMatchObject({
        status: 'failed',
        found: expect.stringMatching(/does not take it \(303, a redirect to .*\/nextcloud\/callback\)$/) as string,
      })
    },
  )

  it('tells that Nextcloud does not take it', async () => {
    expect((await walked({ nextcloud: { status: 400, body: '<html>' } })).finding).toMatchObject({
      status: 'failed',
      found: 'a sign-in comes to Nextcloud, which does not take it (400, an HTML page)',
      fix: expect.stringMatching(/^compare NEXTCLOUD_OIDC_CLIENT_ID and the redirection URI/) as string,
    })
  })
})
