import { beforeEach, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startAuth0, type Auth0 } from '../support/providers/auth0.js'
import { optionsOf, outcomeOf, refused, rejected, startServer, type Outcome } from '../support/providers/page.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'

const NEXTCLOUD_API = 'https://cloud.example.com'

let clock: ManualClock
let auth0: Auth0
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  auth0 = await startAuth0(clock, 'mcp-server', RESOURCE)
  auth0.client.grants.add(NEXTCLOUD_API)
  options = optionsOf('auth0.md', { 'https://acme.eu.auth0.com': auth0.origin })
})

/** Issues a token in Auth0's own profile: the client is in `azp`, and `userinfo` is a second audience. */
const signIn = () =>
  auth0.mint({
    sub: 'auth0|alice',
    aud: [RESOURCE, `${auth0.origin}/userinfo`],
    azp: 'mcp-client',
    client_id: undefined,
    scope: 'openid',
  })
const outcome = async (change?: Partial<McpAuthOptions>): Promise<Outcome> =>
  outcomeOf(await startServer(options, clock, change), await signIn())

it('an MCP token is exchanged, with the requested_token_type and the audience that Auth0 requires', async () => {
  const claims = { iss: auth0.issuer, sub: 'auth0|alice', aud: NEXTCLOUD_API, azp: 'mcp-server' }
  expect(await outcome()).toMatchObject({ status: 200, claims, body: { clientId: 'mcp-client' } })

  const [{ form } = { form: new URLSearchParams() }] = auth0.as.received('/oauth/token')
  expect(form.get('requested_token_type')).toBe('urn:ietf:params:oauth:token-type:access_token')
  expect(form.getAll('audience')).toEqual([NEXTCLOUD_API])
})

it('the issuer ends in a slash; without it, it is another one, and that is said', async () => {
  expect(options.issuer).toBe(`${auth0.origin}/`)
  const server = await startServer(options, clock, { issuer: auth0.origin })

  expect(await server.call(await signIn())).toMatchObject({ status: 500 })
  expect(server.events).toContainEqual(
    expect.objectContaining({
      type: 'request.failed',
      message: `The discovery document names the issuer "${auth0.issuer}", and "${auth0.origin}" is configured; they must be the same string: make issuer (environment variable OIDC_ISSUER) what the document has; if that is an internal address, have the provider name its public one instead (Keycloak: KC_HOSTNAME)`,
    }),
  )
})

it('an audience that Auth0 does not know is refused, with a hint', async () => {
  const change = { nextcloud: { audience: 'nextcloud' } }

  expect(await outcome(change)).toMatchObject(refused('access_denied', /nextcloud\.audience/))
})

it('an application without the exchange is refused: the hint says to switch it on', async () => {
  auth0.client.exchange = false

  expect(await outcome()).toMatchObject(refused('unauthorized_client', /switch token exchange on/))
})

it('a subject token for another API is the MCP client’s to replace, 401', async () => {
  auth0.client.resourceServer = 'https://another.example.com'

  expect(await outcome()).toMatchObject(rejected('invalid_request', /^Invalid subject_token$/))
})
