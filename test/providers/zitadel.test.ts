import { beforeEach, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startNextcloud } from '../support/nextcloud-server.js'
import { optionsOf, outcomeOf, refused, rejected, startServer, type Outcome } from '../support/providers/page.js'
import { startZitadel, type Zitadel } from '../support/providers/zitadel.js'

const PROJECT = ['mcp-client', 'mcp-server', 'nextcloud', '312909075212468632']
const ALICE = { sub: '163840776835432705', client_id: 'mcp-client', scope: 'openid notes:read' }

let clock: ManualClock
let zitadel: Zitadel
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  zitadel = await startZitadel(clock, PROJECT)
  options = optionsOf('zitadel.md', { 'https://acme.zitadel.cloud': zitadel.origin })
})

const outcome = async (token: string, change?: Partial<McpAuthOptions>): Promise<Outcome> =>
  outcomeOf(await startServer(options, clock, change), token)

it('an opaque MCP token is introspected, and exchanged for a JWT for Nextcloud alone', async () => {
  expect(await outcome(zitadel.issueOpaque(ALICE))).toMatchObject({
    status: 200,
    body: { clientId: 'mcp-client', scopes: ['openid', 'notes:read'] },
    claims: { iss: zitadel.issuer, sub: ALICE.sub, aud: ['nextcloud'] },
  })
})

it('an MCP token that is a JWT serves as well', async () => {
  expect(await outcome(await zitadel.mint({ ...ALICE, aud: PROJECT }))).toMatchObject({ status: 200 })
})

it('a token of another project is inactive to this server, 401', async () => {
  const server = await startServer(options, clock)
  const answer = await server.call(zitadel.issueOpaque({ ...ALICE, aud: ['another-project'] }))

  expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  expect(server.events).toContainEqual(expect.objectContaining({ type: 'token.rejected', reason: 'inactive' }))
})

it.each<[rule: string, taken: boolean, parameters: Record<string, string> | undefined, option: string, words: RegExp]>([
  [
    'opaque unless a JWT is asked for: the setting is named once',
    true,
    {},
    'nextcloud.parameters',
    /requested_token_type: 'urn:ietf:params:oauth:token-type:jwt'/,
  ],
  [
    'a JWT with the options of the page: not its form is blamed, but a setting of Nextcloud',
    false,
    undefined,
    'nextcloud',
    /--check-bearer=1/,
  ],
])('a token that Nextcloud refuses is %s', async (_rule, jwts, parameters, option, words) => {
  const cloud = await startNextcloud()
  cloud.accept((token = '') => jwts && token.split('.').length === 3)
  const change = { nextcloud: { url: cloud.url, ...(parameters !== undefined && { parameters }) } }
  const { auth, events } = await startServer(options, clock, change)
  const token = zitadel.issueOpaque(ALICE)

  for (let count = 0; count < 2; count += 1)
    expect((await auth.nextcloudFetch({ token }, '/ocs/v2.php/cloud/user')).status).toBe(401)
  expect(
    events.filter((event) => event.type === 'config.warning' && event.option.startsWith('nextcloud')),
  ).toMatchObject([{ option, message: expect.stringMatching(words) as string }])
})

it.each<[what: string, says: string, nextcloud: McpAuthOptions['nextcloud'], hint: RegExp]>([
  ['resource', 'to leave it out', { resource: 'https://cloud.example.com' }, /^Leave nextcloud\.resource out/],
  [
    'another audience',
    'where it must be',
    { audience: 'x' },
    /^Check nextcloud\.audience.*in the aud of the MCP token/,
  ],
])('%s: refused, invalid_target, and the hint says %s', async (_what, _says, nextcloud, hint) => {
  expect(await outcome(zitadel.issueOpaque(ALICE), { nextcloud })).toMatchObject(refused('invalid_target', hint))
})

it('a subject token that Zitadel does not take is the MCP client’s to replace, and the operator can read why', async () => {
  const token = await zitadel.mint({ ...ALICE, aud: ['mcp-client'], client_id: 'another-client' })
  const answer = await outcome(token, { audience: 'mcp-client' })

  expect(answer).toMatchObject(rejected('invalid_request', /^subject_token invalid$/))
})
