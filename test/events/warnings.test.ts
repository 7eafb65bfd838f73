import { beforeEach, describe, expect, it } from 'vitest'
import { createEvents } from '../../src/events.js'
import type { McpAuthOptions } from '../../src/options.js'
import {
  ask,
  askWith,
  insufficientScope,
  invalidToken,
  misconfigured,
  rejection,
  unauthorized,
  unavailable,
} from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { protectedApp } from '../support/protected-app.js'
import { turn } from '../support/promises.js'
import type { ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { captureWarnings } from '../support/warnings.js'
import { world, type World } from '../support/world.js'

let warnings: readonly Error[]
beforeEach(() => {
  warnings = captureWarnings()
})

/** An app without a listener, unless one is given. */
const start = (given: McpAuthOptions = {}) =>
  world({
    host: bareHost,
    options: { requiredScopes: ['notes:read'], onEvent: undefined!, ...given },
    handlers: protectedApp,
  })

describe('a listener that fails', () => {
  const throwing = () => {
    throw new Error('a bug of the listener')
  }

  it.each<[how: string, onEvent: () => unknown, said: string]>([
    ['throws', throwing, 'a bug of the listener'],
    ['rejects', () => Promise.reject(new Error('a bug of the listener')), 'a bug of the listener'],
    ['rejects later', () => new Promise(setImmediate).then(throwing), 'a bug of the listener'],
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- what a listener may do
    ['rejects without an Error', () => Promise.reject('text'), 'no Error was thrown'],
  ])('because it %s never disturbs a request, and is warned about once', async (_how, onEvent, said) => {
    const { url, as } = await start({ onEvent })
    const token = await as.mint()

    for (let count = 0; count < 2; count += 1)
      expect(await askWith(url, token)).toMatchObject({ status: 200, body: { subject: 'alice' } })
    expect(await ask(url)).toEqual(unauthorized())

    expect(warnings).toMatchObject([
      { name: 'McpAuthWarning', code: 'ERR_ON_EVENT', message: `onEvent failed: ${said}` },
    ])
  })

  it('writes nothing to a terminal that it would obey', async () => {
    const { url } = await start({
      onEvent: () => {
        throw new Error('no account for x\u001b]0;pwned\u0007\nMcpAuthWarning: all is well')
      },
    })
    await ask(url)

    expect(warnings).toMatchObject([
      { message: 'onEvent failed: no account for x\uFFFD]0;pwned\uFFFD\uFFFDMcpAuthWarning: all is well' },
    ])
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

describe('without a listener', () => {
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
    const { url, as } = await start()
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

  it('a connection that failed, or was not ended elsewhere, is a warning of the process where there is something to mend', async () => {
    const events = createEvents(undefined, manualClock())
    const alice = { issuer: 'https://idp.example.com', subject: 'alice' }

    events.emit({ type: 'grant.revoked', ...alice, revoked: true })
    events.emit({ type: 'connect.failed', ...alice, reason: 'declined' })
    events.emit({ type: 'grant.revoked', ...alice, revoked: false, hint: 'end it by hand' })
    events.emit({ type: 'connect.failed', ...alice, reason: 'refused', hint: 'set the secret' })
    await turn()

    expect(warnings).toMatchObject([named('ERR_REVOKED', 'end it by hand'), named('ERR_CONNECT', 'set the secret')])
    expect(warnings).toHaveLength(2)
  })

  it('a bug is a warning of the process', async () => {
    const scopeSatisfies = () => {
      throw new TypeError('a bug of the operator')
    }
    const { url, as } = await start({ scopeSatisfies })

    expect(await askWith(url, await as.mint())).toEqual(
      rejection(500, 'server_error', 'The server failed to handle the request'),
    )
    expect(warnings).toMatchObject([named('ERR_INTERNAL', 'An error that was not expected')])
  })

  it('why there is no Nextcloud token, where the operator can mend it, is a warning of the process, once', async () => {
    const { auth, as } = await start()
    as.script('/token', { status: 400, json: { error: 'invalid_target' } })

    for (const sub of ['alice', 'bob']) {
      await expect(auth.getNextcloudToken({ token: await as.mint({ sub }) })).rejects.toMatchObject({ status: 502 })
    }

    expect(warnings).toMatchObject([
      named(
        'ERR_TOKEN_REQUEST',
        expect.stringMatching(/^Check nextcloud\.audience: the authorization server must know it/) as string,
      ),
    ])
  })

  const UNAVAILABLE = 'ERR_UPSTREAM_UNAVAILABLE'
  const twice = async ({ clock }: World, request: () => Promise<unknown>): Promise<unknown[]> => {
    const first = await request()
    clock.advance(60_000)
    return [first, await request()]
  }

  it('metadata that is not where the issuer says are a warning of the process, once', async () => {
    const made = await world({
      mode: 'none',
      host: bareHost,
      options: (as) => ({ issuer: `${as.issuer}/realms/wrong`, onEvent: undefined! }),
      handlers: protectedApp,
    })
    const { url, as } = made
    const issuer = `${as.issuer}/realms/wrong`
    const token = await as.mint({ iss: issuer })

    expect(await twice(made, () => askWith(url, token))).toEqual([unavailable('1'), unavailable('2')])
    const second = `${as.issuer}/.well-known/oauth-authorization-server/realms/wrong`
    expect(warnings).toMatchObject([
      named(UNAVAILABLE, `${issuer}/.well-known/openid-configuration and ${second} answered 404: check issuer`),
    ])
  })

  it.each<[name: string, answer: ScriptedAnswer, said: string]>([
    ['fail', { status: 500 }, 'answers with status 500'],
    ['are missing', { status: 404 }, 'answered 404 instead of a JWKS: check jwks_uri in the metadata, or set'],
    ['are no keys', { json: {} }, 'answered with something that is not a JWKS: check jwks_uri in the metadata, or set'],
  ])('keys that %s are a warning of the process, once', async (_name, answer, said) => {
    const made = await start()
    const { url, as } = made
    as.script('/jwks', answer)
    const token = await as.mint()

    expect(await twice(made, () => askWith(url, token))).toEqual([unavailable('1'), unavailable('2')])
    expect(warnings).toMatchObject([
      named(UNAVAILABLE, `${as.issuer}/jwks ${said}${said.endsWith('set') ? ' authorizationServer.jwksUri' : ''}`),
    ])
  })

  it('a token endpoint that is unavailable is a warning of the process, once, without anything of the request', async () => {
    const made = await start({ http: { retries: 0 } })
    const { auth, as } = made
    as.script('/token', { status: 502 })
    const token = await as.mint()

    await twice(made, () => expect(auth.getNextcloudToken({ token })).rejects.toMatchObject({ status: 503 }))
    expect(warnings).toMatchObject([named(UNAVAILABLE, `${as.issuer}/token answers with status 502`)])
  })

  it('another reason is another warning', async () => {
    const { url, as, clock } = await start({ http: { retries: 0 } })
    for (const status of [500, 502]) {
      as.script('/jwks', { status })
      await askWith(url, await as.mint())
      clock.advance(60_000)
    }

    expect(warnings).toMatchObject(
      [500, 502].map((status) => ({ message: `${as.issuer}/jwks answers with status ${status}` })),
    )
  })

  it('a storage that fails is a warning of the process, once, by its code alone', async () => {
    const fail = () => Promise.reject(Object.assign(new Error('postgres://user:hunter2@db'), { code: 'ECONNREFUSED' }))
    const storage = { shared: true, get: fail, put: fail, delete: fail }
    const made = await world({ mode: 'refresh-token', storage, options: { onEvent: undefined! } })

    await twice(made, () =>
      expect(made.auth.isProvisioned({ subject: 'alice' })).rejects.toMatchObject({ status: 503 }),
    )
    // A process tells of its warnings on the next tick.
    await turn()
    expect(warnings).toMatchObject([named('ERR_STORAGE', 'The storage failed (ECONNREFUSED)')])
  })

  it('the first refusal of each reason in a minute is one, and says what to change', async () => {
    const { url, as, clock } = await start()
    const refuse = async () => {
      expect(await ask(url)).toEqual(unauthorized())
      for (const aud of ['x', 'y']) await askWith(url, await as.mint({ aud }))
      await askWith(url, await as.mint({ scope: 'other' }))
    }
    await refuse()
    await refuse()
    clock.advance(60_000)
    await refuse()

    const audience = named(
      'ERR_REJECTED',
      expect.stringMatching(/\(audience\): aud is \["x"\].*audience mapper/) as never,
    )
    const scope = named('ERR_REJECTED', expect.stringMatching(/\(scope\): scope is \["other"\]/) as never)
    expect(warnings).toMatchObject([audience, scope, audience, scope])
  })

  it('a request without credentials is none, and the answers are as with a listener', async () => {
    const { url, as } = await start()

    expect(await ask(url)).toEqual(unauthorized())
    expect(await askWith(url, await as.mint({ aud: 'x' }))).toEqual(
      invalidToken('The access token is for another audience'),
    )
    expect(await askWith(url, await as.mint({ scope: 'other' }))).toEqual(insufficientScope('notes:read'))
    expect(warnings).toHaveLength(2)
  })
})

it('with a listener nothing is a warning of the process', async () => {
  const events: unknown[] = []
  const onEvent = (event: unknown) => events.push(event)
  const { url, as } = await start({ onEvent, resource: 'http://mcp.internal:8080/mcp' })
  delete as.metadata['jwks_uri']

  expect(await askWith(url, await as.mint())).toEqual(misconfigured())
  expect(events).toMatchObject([{ type: 'config.warning' }, { type: 'request.failed', code: 'ERR_CONFIGURATION' }])
  expect(warnings).toEqual([])
})
