import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors/errors.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, askWith, insufficientScope, misconfigured } from '../support/answers.js'
import { hosts, type Host } from '../support/hosts.js'
import { showCaller } from '../support/protected-app.js'
import { world } from '../support/world.js'

/** An app behind requireScopes() with the given scopes. */
const start = (host: Host, scopes: readonly string[], options: McpAuthOptions = {}) =>
  world({
    mode: 'none',
    host,
    options: { requiredScopes: ['notes:read'], ...options },
    handlers: (auth) => [auth, auth.requireScopes(...scopes), showCaller],
  })

describe.each(hosts)('requireScopes on $name', (host) => {
  it('lets a token pass that has every scope', async () => {
    const { askWith: askAs } = await start(host, ['notes:write', 'files:read'])

    expect(await askAs('/', 'GET', { scope: 'files:read notes:read notes:write' })).toMatchObject({
      status: 200,
      body: { subject: 'alice' },
    })
  })

  it('names all scopes of the operation, each once, when the token lacks one of them, however often it comes', async () => {
    const { url, as } = await start(host, ['notes:write', 'files:read', 'notes:read'])

    for (const scope of ['notes:read', 'notes:read files:read', 'notes:read notes:write']) {
      const token = await as.mint({ scope })
      for (let count = 0; count < 2; count += 1)
        expect(await askWith(url, token)).toEqual(insufficientScope('notes:read notes:write files:read'))
    }
  })

  it('honours scope hierarchies', async () => {
    const asked: [readonly string[], string][] = []
    const scopeSatisfies = (granted: readonly string[], required: string): boolean => {
      asked.push([granted, required])
      return granted.some((scope) => required === scope || required.startsWith(`${scope}:`))
    }
    const { askWith: askAs } = await start(host, ['notes:write'], { scopeSatisfies })

    expect(await askAs('/', 'GET', { scope: 'notes' })).toMatchObject({ status: 200 })
    expect(asked).toEqual([
      [['notes'], 'notes:read'],
      [['notes'], 'notes:write'],
    ])
    expect(await askAs('/', 'GET')).toEqual(insufficientScope('notes:read notes:write'))
  })

  it('is a mistake of the operator without the middleware before it', async () => {
    const { url } = await world({ mode: 'none', host, handlers: (auth) => [auth.requireScopes('a'), showCaller] })

    expect(await ask(url)).toEqual(misconfigured())
  })

  it('lets a CORS preflight pass, which has no token to look at', async () => {
    const { url } = await start(host, ['notes:write'])

    const answer = await ask(url, { method: 'OPTIONS', headers: [['Access-Control-Request-Method', 'POST']] })

    expect(answer).toMatchObject({ status: 200, challenge: undefined, body: null })
  })

  it('leaves the answer to onError', async () => {
    const { askWith: askAs } = await start(host, ['notes:write'], {
      onError: (error, _req, res) => {
        res.statusCode = error.status
        res.end(error.headers['WWW-Authenticate'])
      },
    })

    const { challenge } = insufficientScope('notes:read notes:write')
    expect(await askAs('/', 'GET')).toMatchObject({ status: 403, challenge: undefined, body: challenge })
  })
})

it.each([
  ['no scope', []],
  ['an empty scope', ['']],
  ['several scopes in one', ['notes:read notes:write']],
  ['a scope with a quote', ['notes"']],
  ['a scope with a backslash', ['notes\\']],
  ['a scope with a letter beyond ASCII', ['nötes']],
  ['a list', [['notes:read'] as unknown as string]],
  ['one bad scope among good ones', ['notes:read', 'a b']],
])('requireScopes refuses at once: %s', async (_what, scopes) => {
  const { auth } = await world({ mode: 'none' })
  const guard = () => auth.requireScopes(...scopes)

  expect(guard).toThrow(ConfigurationError)
  expect(guard).toThrow(expect.objectContaining({ code: 'ERR_CONFIGURATION', option: 'requireScopes' }))
  expect(guard).toThrow(/^requireScopes /)
})
