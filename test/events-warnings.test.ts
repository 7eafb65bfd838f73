import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../src/options.js'
import {
  ask,
  askWith,
  insufficientScope,
  invalidToken,
  misconfigured,
  rejection,
  unauthorized,
  unavailable,
} from './support/answers.js'
import { manualClock, type ManualClock } from './support/clock.js'
import { bareHost } from './support/hosts.js'
import { startProtectedApp, type ProtectedApp } from './support/protected-app.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from './support/scripted-authorization-server.js'

let clock: ManualClock
let as: ScriptedAuthorizationServer
let app: ProtectedApp | undefined
let warnings: unknown[]
const record = (warning: unknown) => void warnings.push(warning)

beforeEach(async () => {
  clock = manualClock()
  as = await startAuthorizationServer(clock.now)
  warnings = []
  process.on('warning', record)
})
afterEach(async () => {
  process.off('warning', record)
  await app?.close()
  app = undefined
  await as.close()
})

async function start(given: McpAuthOptions = {}): Promise<ProtectedApp> {
  const options = { issuer: as.issuer, resource: RESOURCE, requiredScopes: ['notes:read'] }
  app = await startProtectedApp(bareHost, { ...options, ...given }, clock)
  return app
}

describe('a listener that fails', () => {
  const throwing = () => {
    throw new Error('a bug of the listener')
  }

  it.each<[string, () => unknown]>([
    ['throws', throwing],
    ['rejects', () => Promise.reject(new Error('a bug of the listener'))],
    ['rejects later', () => new Promise(setImmediate).then(throwing)],
  ])('because it %s never disturbs a request, and is warned about once', async (_how, failing) => {
    const { url } = await start({ onEvent: failing })
    const token = await as.mint()

    expect(await askWith(url, token)).toMatchObject({ status: 200, body: { subject: 'alice' } })
    expect(await askWith(url, token)).toMatchObject({ status: 200, body: { subject: 'alice' } })
    expect(await ask(url)).toEqual(unauthorized())
    expect(await askWith(url, await as.mint({ aud: 'x' }))).toEqual(
      invalidToken('The access token is for another audience'),
    )

    expect(warnings).toMatchObject([
      { name: 'McpAuthWarning', code: 'ERR_ON_EVENT', message: 'onEvent failed: a bug of the listener' },
    ])
  })

  it('without an Error is warned about all the same', async () => {
    const failing = (): never => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- what a listener may do
      throw 'text'
    }
    const { url } = await start({ onEvent: failing })

    expect(await ask(url)).toEqual(unauthorized())
    expect(warnings).toMatchObject([{ message: 'onEvent failed: no Error was thrown' }])
  })

  it('in ever new ways is warned about twenty times', async () => {
    let failures = 0
    const failing = () => {
      failures += 1
      throw new Error(`failure ${failures}`)
    }
    const { url } = await start({ onEvent: failing })

    for (let request = 0; request < 25; request += 1) await ask(url)

    expect(failures).toBe(25)
    expect(warnings).toHaveLength(20)
  })
})

describe('where nobody listens', () => {
  const named = (code: string, message: string) => ({ name: 'McpAuthWarning', code, message })

  it('a risky option is a warning of the process', async () => {
    const { url } = await start({ discoveryUrl: 'http://keycloak:8080/meta' })

    expect(await ask(url)).toEqual(unauthorized())
    expect(warnings).toMatchObject([
      named(
        'ERR_CONFIGURATION',
        'discoveryUrl is plain http off loopback: tokens can be read and keys replaced on the way',
      ),
    ])
  })

  it('what the operator has to mend is a warning of the process, once', async () => {
    const { url } = await start()
    delete as.metadata['jwks_uri']

    expect(await askWith(url, await as.mint())).toEqual(misconfigured())
    expect(await askWith(url, await as.mint({ sub: 'bob' }))).toEqual(misconfigured())

    expect(warnings).toMatchObject([
      named(
        'ERR_CONFIGURATION',
        'The metadata of the authorization server has no jwks_uri; set authorizationServer.jwksUri',
      ),
    ])
  })

  it('a bug is a warning of the process', async () => {
    const scopeSatisfies = () => {
      throw new TypeError('a bug of the operator')
    }
    const { url } = await start({ scopeSatisfies })

    expect(await askWith(url, await as.mint())).toEqual(
      rejection(500, 'server_error', 'The server failed to handle the request'),
    )
    expect(warnings).toMatchObject([named('ERR_INTERNAL', 'An error that was not expected')])
  })

  it('why there is no Nextcloud token, where the operator can mend it, is a warning of the process, once', async () => {
    const nextcloud = { url: 'https://cloud.example.com' }
    const { auth } = await start({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, nextcloud })
    as.script('/token', { status: 400, json: { error: 'invalid_target' } })

    for (const sub of ['alice', 'bob']) {
      await expect(auth.getNextcloudToken({ token: await as.mint({ sub }) })).rejects.toMatchObject({ status: 502 })
    }

    expect(warnings).toMatchObject([
      named(
        'ERR_TOKEN_REQUEST',
        'Check nextcloud.audience and nextcloud.resource, and that this client may ask for them.',
      ),
    ])
  })

  it('an outage, or a request that is turned away, is none', async () => {
    const { url } = await start()
    as.script('/jwks', { status: 500 })
    const outage = await askWith(url, await as.mint())
    as.script('/jwks')
    clock.advance(60_000)

    expect(outage).toEqual(unavailable('1'))
    expect(await ask(url)).toEqual(unauthorized())
    expect(await askWith(url, await as.mint({ aud: 'x' }))).toEqual(
      invalidToken('The access token is for another audience'),
    )
    expect(await askWith(url, await as.mint({ scope: 'other' }))).toEqual(insufficientScope('notes:read'))
    expect(warnings).toEqual([])
  })
})

it('where somebody listens, nothing is a warning of the process', async () => {
  const events: unknown[] = []
  const onEvent = (event: unknown) => events.push(event)
  const { url } = await start({ onEvent, resource: 'http://mcp.internal:8080/mcp' })
  delete as.metadata['jwks_uri']

  expect(await askWith(url, await as.mint())).toEqual(misconfigured())
  expect(events).toMatchObject([{ type: 'config.warning' }, { type: 'request.failed', code: 'ERR_CONFIGURATION' }])
  expect(warnings).toEqual([])
})
