import { beforeEach, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { insufficientScope } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startOkta, type Okta } from '../support/providers/okta.js'
import { optionsOf, outcomeOf, refused, rejected, startServer, type Outcome } from '../support/providers/page.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'

let clock: ManualClock
let okta: Okta
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  okta = await startOkta(clock, RESOURCE)
  okta.nextcloud.trusted.add(okta.mcp.standIn.issuer)
  options = optionsOf('okta.md', { 'https://acme.okta.com': okta.origin })
})

const signIn = (scopes = ['notes:read']) => okta.signIn('alice@example.com', '0oamcpclient', scopes)
const outcome = async (change?: Partial<McpAuthOptions>): Promise<Outcome> =>
  outcomeOf(await startServer(options, clock, change), await signIn())

it('an MCP token is exchanged at the custom authorization server for Nextcloud', async () => {
  const client = { cid: 'mcp-server', scp: ['nextcloud:access'] }
  const claims = { iss: okta.nextcloud.standIn.issuer, aud: 'nextcloud', sub: 'alice@example.com', ...client }

  expect(await outcome()).toMatchObject({ status: 200, claims })
})

it('the client is read from cid, and the scopes from the list in scp', async () => {
  const { call } = await startServer(options, clock)
  const { body } = await call(await signIn(['notes:read', 'notes:write']))

  expect(body).toMatchObject({ clientId: '0oamcpclient', scopes: ['notes:read', 'notes:write'] })
  expect(await call(await signIn(['profile']))).toEqual(insufficientScope('notes:read'))
})

it('a client can be kept out by its cid', async () => {
  const server = await startServer(options, clock, { allowedClients: ['0oaanother'] })

  expect(await server.call(await signIn())).toMatchObject({ status: 401 })
  const rejection = { reason: 'client', claim: 'cid', found: ['0oamcpclient'] }
  expect(server.events).toContainEqual(expect.objectContaining(rejection))
})

it.each([
  ['without a scope', 'to set them', [], /^Set nextcloud\.scopes/, /'scope' must be provided/],
  [
    'with a scope that the server does not have',
    'to check them',
    ['openid'],
    /^Check nextcloud\.scopes/,
    /not configured/,
  ],
])('%s the exchange is refused, and the hint says %s', async (_name, _says, scopes, hint, said) => {
  const more = { errorDescription: expect.stringMatching(said) as string }

  expect(await outcome({ nextcloud: { scopes } })).toMatchObject(refused('invalid_scope', hint, more))
})

it('a server that does not trust the MCP token’s issuer refuses it, 401', async () => {
  okta.nextcloud.trusted.delete(okta.mcp.standIn.issuer)

  expect(await outcome()).toMatchObject(rejected('invalid_grant', /subject_token is invalid/))
})

it('at the server for MCP, whose one audience is this server, the exchange gives no token for Nextcloud', async () => {
  const change = { nextcloud: { scopes: ['notes:read'] }, authorizationServer: {} }
  const hint = expect.stringMatching(/ignored audience/) as string

  expect(await outcome(change)).toMatchObject({ status: 502, failure: { hint } })
})
