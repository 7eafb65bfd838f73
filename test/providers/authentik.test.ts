import { beforeEach, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startAuthentik, type Authentik } from '../support/providers/authentik.js'
import { optionsOf, outcomeOf, refused, rejected, startServer, type Outcome } from '../support/providers/page.js'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

let clock: ManualClock
let authentik: Authentik
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  authentik = await startAuthentik(clock)
  authentik.mcp.grantTypes.add(EXCHANGE)
  authentik.mcp.federated.add('mcp-clients')
  authentik.nextcloud.federated.add('mcp')
  options = optionsOf('authentik.md', { 'https://authentik.example.com': authentik.origin })
})

/** Without `client_id`, as authentik writes it. */
const mcpToken = ({ clientId, standIn }: Authentik['clients']): Promise<string> =>
  standIn.mint({ aud: clientId, azp: clientId, uid: 'u', client_id: undefined, scope: 'openid profile' })

const outcome = async (nextcloud: McpAuthOptions['nextcloud'] = {}): Promise<Outcome> => {
  return outcomeOf(await startServer(options, clock, { nextcloud }), await mcpToken(authentik.clients))
}

it('an MCP token of one provider is exchanged for a token of Nextcloud’s provider', async () => {
  const iss = authentik.nextcloud.standIn.issuer
  const claims = { iss, aud: 'nextcloud', sub: 'alice', scope: 'openid profile email' }

  expect(await outcome()).toMatchObject({ status: 200, claims, body: { clientId: 'mcp-clients' } })
  expect(authentik.requests().map((form) => form.getAll('audience'))).toEqual([['nextcloud']])
})

it('an access token of Nextcloud’s provider is not for this server, 401', async () => {
  const server = await startServer(options, clock)
  const answer = await server.call(await authentik.nextcloud.standIn.mint({ aud: 'nextcloud' }))

  expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
})

it('a token of a provider that the server’s own does not list as federated is invalid_grant', async () => {
  authentik.mcp.federated.clear()

  expect(await outcome()).toMatchObject(rejected('invalid_grant', /^The provided authorization grant/))
})

it('one provider for the server and its MCP clients does, too, and needs no entry of itself', async () => {
  authentik.mcp.federated.clear()
  const server = await startServer({ ...options, issuer: authentik.mcp.standIn.issuer, audience: 'mcp' }, clock)

  expect(await outcomeOf(server, await mcpToken(authentik.mcp))).toMatchObject({
    status: 200,
    body: { clientId: 'mcp' },
  })
})

it('without nextcloud.scopes the exchanged token has none', async () => {
  expect((await outcome({ scopes: [] })).claims?.['scope']).toBe('')
})

it.each<[what: string, says: string, change: McpAuthOptions['nextcloud'], hint: RegExp]>([
  ['resource', 'to leave it out', { resource: 'https://cloud.example.com' }, /^Leave nextcloud\.resource out/],
  ['several audiences', 'to name one', { audience: ['nextcloud', 'mcp'] }, /^Name a single nextcloud\.audience/],
  ['an audience unknown', 'where it opts in', { audience: 'x' }, /^Check nextcloud\.audience.*Authentik.*federated/],
])('%s: refused, invalid_target, and the hint says %s', async (_what, _says, change, hint) => {
  expect(await outcome(change)).toMatchObject(refused('invalid_target', hint))
})

it('an audience that has not opted in is refused as one that is unknown', async () => {
  authentik.nextcloud.federated.clear()

  expect(await outcome()).toMatchObject(refused('invalid_target', /^Check nextcloud\.audience/))
})

it('the grant type that is not selected is invalid_grant, as a bad token is: 401, and the operator can read it', async () => {
  authentik.mcp.grantTypes.delete(EXCHANGE)

  const said = /^The provided authorization grant or refresh token is invalid/
  expect(await outcome()).toMatchObject(rejected('invalid_grant', said))
})
