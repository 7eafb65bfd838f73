import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors/errors.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, askWith, insufficientScope, misconfigured } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { hosts, type Host, type RunningApp } from '../support/hosts.js'
import { startProtectedApp } from '../support/protected-app.js'
import {
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const clock = manualClock()

let as: ScriptedAuthorizationServer
let app: RunningApp | undefined

beforeAll(async () => {
  as = await startAuthorizationServer(clock.now)
})
afterEach(async () => {
  await app?.close()
  app = undefined
})
afterAll(() => as.close())

const options = (): McpAuthOptions => ({
  issuer: as.issuer,
  resource: RESOURCE,
  requiredScopes: ['notes:read'],
  onEvent: () => undefined,
})

/** An app behind requireScopes() with the given scopes. */
async function start(host: Host, scopes: readonly string[], given: McpAuthOptions = {}): Promise<string> {
  const after = (auth: { requireScopes: (...scopes: string[]) => ConnectHandler }) => [auth.requireScopes(...scopes)]
  app = await startProtectedApp(host, { ...options(), ...given }, clock, { after })
  return app.url
}

describe.each(hosts)('requireScopes on $name', (host) => {
  it('lets a token pass that has every scope', async () => {
    const url = await start(host, ['notes:write', 'files:read'])
    const token = await as.mint({ scope: 'files:read notes:read notes:write' })

    expect(await askWith(url, token)).toMatchObject({ status: 200, body: { subject: 'alice' } })
  })

  it.each([
    ['every one of them', 'notes:read'],
    ['the first', 'notes:read files:read'],
    ['the last', 'notes:read notes:write'],
  ])('names all scopes of the operation when the token lacks %s', async (_which, scope) => {
    const url = await start(host, ['notes:write', 'files:read'])

    expect(await askWith(url, await as.mint({ scope }))).toEqual(insufficientScope('notes:read notes:write files:read'))
  })

  it('names a scope once that every request needs as well', async () => {
    const url = await start(host, ['notes:write', 'notes:read'])

    expect(await askWith(url, await as.mint())).toEqual(insufficientScope('notes:read notes:write'))
  })

  it('says the same of a token that was verified before', async () => {
    const url = await start(host, ['notes:write'])
    const token = await as.mint()
    const first = await askWith(url, token)

    expect(first).toEqual(insufficientScope('notes:read notes:write'))
    expect(await askWith(url, token)).toEqual(first)
  })

  it('honours scope hierarchies', async () => {
    const asked: [readonly string[], string][] = []
    const scopeSatisfies = (granted: readonly string[], required: string): boolean => {
      asked.push([granted, required])
      return granted.some((scope) => required === scope || required.startsWith(`${scope}:`))
    }
    const url = await start(host, ['notes:write'], { scopeSatisfies })

    expect(await askWith(url, await as.mint({ scope: 'notes' }))).toMatchObject({ status: 200 })
    expect(asked).toEqual([
      [['notes'], 'notes:read'],
      [['notes'], 'notes:write'],
    ])
    expect(await askWith(url, await as.mint({ scope: 'notes:read' }))).toEqual(
      insufficientScope('notes:read notes:write'),
    )
  })

  it('takes nothing but true for a verdict on a scope, so that an async function lets nobody in', async () => {
    const scopeSatisfies = (() => Promise.resolve(true)) as unknown as NonNullable<McpAuthOptions['scopeSatisfies']>
    const url = await start(host, ['notes:write'], { scopeSatisfies })

    expect(await askWith(url, await as.mint({ scope: 'notes:read notes:write' }))).toEqual(
      insufficientScope('notes:read'),
    )
  })

  it('is a mistake of the operator without the middleware before it', async () => {
    const auth = createMcpAuth(options(), clock)
    const next: ConnectHandler = (_req, res) => res.end('reached')
    app = await host.start([auth.requireScopes('notes:read'), next])

    expect(await ask(app.url)).toEqual(misconfigured())
    await auth.close()
  })

  it('lets a CORS preflight pass, which has no token to look at', async () => {
    const url = await start(host, ['notes:write'])

    const answer = await ask(url, { method: 'OPTIONS', headers: [['Access-Control-Request-Method', 'POST']] })

    expect(answer).toMatchObject({ status: 200, challenge: undefined, body: null })
  })

  it('leaves the answer to onError', async () => {
    const url = await start(host, ['notes:write'], {
      onError: (error, _req, res) => {
        res.statusCode = error.status
        res.end(error.headers['WWW-Authenticate'])
      },
    })

    const { challenge } = insufficientScope('notes:read notes:write')
    expect(await askWith(url, await as.mint())).toMatchObject({ status: 403, challenge: undefined, body: challenge })
  })
})

describe('requireScopes refuses at once', () => {
  it.each([
    ['no scope', []],
    ['an empty scope', ['']],
    ['several scopes in one', ['notes:read notes:write']],
    ['a scope with a quote', ['notes"']],
    ['a scope with a backslash', ['notes\\']],
    ['a scope with a letter beyond ASCII', ['nötes']],
    ['a list', [['notes:read'] as unknown as string]],
    ['one bad scope among good ones', ['notes:read', 'a b']],
  ])('%s', async (_what, scopes) => {
    const auth = createMcpAuth(options(), clock)

    const guard = () => auth.requireScopes(...scopes)

    expect(guard).toThrow(ConfigurationError)
    expect(guard).toThrow(expect.objectContaining({ code: 'ERR_CONFIGURATION', option: 'requireScopes' }))
    expect(guard).toThrow(/^requireScopes /)
    await auth.close()
  })
})

it('the scopes of every request are named when one of them is missing, in the order of the options', async () => {
  const [host] = hosts
  app = await startProtectedApp(host as Host, { ...options(), requiredScopes: ['b', 'a', 'b'] }, clock)

  expect(await askWith(app.url, await as.mint({ scope: 'a' }))).toEqual(insufficientScope('b a'))
})
