import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { listen } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { CLIENT_ID, CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

// A server that this one asks may be taken over, or be a proxy that is: it sends nobody on, least of all with a credential.

let evil: string
let asked: number

beforeEach(async () => {
  asked = 0
  const app = await listen((_req, res) => {
    asked += 1
    res.setHeader('content-type', 'application/json').end('{"active":true,"access_token":"evil","token_type":"Bearer"}')
  })
  evil = app.url
  onTestFinished(app.close)
})

const STATUSES = [301, 302, 303, 307, 308]
const PLACES = ['/.well-known/openid-configuration', '/jwks', '/introspect', '/token'] as const

describe.each(PLACES)('%s', (place) => {
  it.each(STATUSES)('that sends on by %i is unavailable, and nobody is asked elsewhere (CWE-918)', async (status) => {
    const { as, auth, signIn } = await world({ options: { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET } })
    as.script(place, { status, headers: { location: `${evil}${place}` } })
    const call = place === '/introspect' ? auth.verify('opaque') : signIn().then((info) => auth.getNextcloudToken(info))

    expect(await failureOf(call)).toBeInstanceOf(UpstreamUnavailableError)

    expect(asked).toBe(0)
  })
})

it.each([
  'http://169.254.169.254/latest/meta-data',
  'http://[::ffff:10.0.0.1]/',
  'file:///etc/passwd',
  'gopher://127.0.0.1:6379/_',
])('metadata that name %s as a place for keys are refused before it is asked', async (jwks_uri) => {
  const { signIn } = await world({ metadata: { jwks_uri } })
  expect(await failureOf(signIn())).toMatchObject({ code: 'ERR_CONFIGURATION' })
})

it.each(STATUSES)('a revocation that is sent on by %i takes no refresh token elsewhere', async (status) => {
  const { as, auth, connect, stored } = await world({
    mode: 'refresh-token',
    options: (server) => ({ authorizationServer: { revocationEndpoint: `${server.issuer}/revoke` } }),
  })
  await connect()
  as.script('/revoke', { status, headers: { location: `${evil}/revoke` } })

  await auth.revoke({ subject: 'alice' })

  expect([asked, (await stored())?.state]).toEqual([0, 'disconnected'])
})

it.each(STATUSES)('a refresh that is sent on by %i takes no refresh token elsewhere', async (status) => {
  const { as, auth, connect } = await world({ mode: 'refresh-token' })
  await connect()
  as.script('/token', { status, headers: { location: `${evil}/token` } })

  expect(await failureOf(auth.getNextcloudToken({ subject: 'alice' }))).toBeInstanceOf(UpstreamUnavailableError)

  expect(asked).toBe(0)
})
