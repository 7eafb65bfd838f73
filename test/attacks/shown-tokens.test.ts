import { inspect } from 'node:util'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { McpServer } from '@modelcontextprotocol/server'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuthInfo } from '../../src/index.js'
import { withNextcloud as withNextcloudV1 } from '../../src/mcp/v1.js'
import { withNextcloud, type Nextcloud } from '../../src/mcp/v2.js'
import { ask } from '../support/answers.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { bareHost } from '../support/hosts.js'
import { mcpClients } from '../support/mcp-clients.js'
import { mcpServers, serveMcp, type McpServerKind } from '../support/mcp-servers.js'
import type { PassedRequest } from '../support/protected-app.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

// No logger, JSON or copy shows a token by accident (CWE-532): secrets are not enumerable, wherever an object that holds one goes.

/** Everything that a logger makes of a value. */
function loggedAs(value: object): string {
  const lines: string[] = []
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  log.info(value)
  log.info({ value }, 'with %o and %j', value, value)
  return [
    ...lines,
    inspect(value, { depth: 20, getters: true }),
    JSON.stringify(value),
    JSON.stringify({ ...value }),
    JSON.stringify(Object.assign({}, value)),
    JSON.stringify(Object.entries(value)),
  ].join('\n')
}

/** The names by which a spread or a loop over an object finds its members. */
function namesOf(value: object): string[] {
  const names = Object.keys({ ...value })
  for (const name in value) names.push(name)
  return names
}

describe('the caller of a verified token', () => {
  it('shows its token to whoever asks for it by name, and to nobody else', async () => {
    const { as, auth } = await world()
    const token = await as.mint()
    const info = await auth.verify(token)

    expect(info.token).toBe(token)
    expect(namesOf(info)).not.toContain('token')
    expect(loggedAs(info)).not.toContain(token)
    expect(loggedAs(info)).toContain('alice')
    expect(Object.isFrozen(info)).toBe(true)
    // It holds a function, as it always has. Its claims can be cloned.
    expect(() => structuredClone(info)).toThrow(DOMException)
    expect(structuredClone(info.claims)).toEqual(info.claims)
  })

  it('is the same in the verdict of authenticate()', async () => {
    const { as, auth } = await world()
    const token = await as.mint()
    const headers = { authorization: `Bearer ${token}` }
    const verdict = await auth.authenticate({ method: 'POST', url: '/mcp', headers })

    expect(verdict).toMatchObject({ info: { subject: 'alice' } })
    expect(loggedAs(verdict)).not.toContain(token)
  })

  it('is the same on a request, which loggers write with all its members', async () => {
    let seen: PassedRequest | undefined
    const keep: ConnectHandler = (req, res) => {
      seen = req
      res.end()
    }
    const { as, url } = await world({ host: bareHost, handlers: (auth) => [auth, keep] })
    const token = await as.mint()
    await ask(url, { headers: [['Authorization', `Bearer ${token}`]] })

    const { mcpAuth, auth } = seen ?? expect.unreachable()
    expect(mcpAuth?.token).toBe(token)
    const request = { id: 1, mcpAuth, auth, locals: { caller: mcpAuth } }
    expect(loggedAs(request)).not.toContain(token)
    expect(loggedAs(new Error('failed', { cause: request }))).not.toContain(token)
  })
})

describe.each(Object.keys(mcpServers) as McpServerKind[])('in a tool handler of %s', (kind) => {
  it('the caller keeps its token, in each call of a session, and its context shows none', async () => {
    const { as, auth, open } = await world({ nextcloud: true })
    const seen: { info: McpAuthInfo | undefined; context: unknown; nextcloud: Nextcloud }[] = []
    const done = { content: [{ type: 'text' as const, text: 'done' }] }
    const served = { name: 'notes', version: '1.0.0' }
    const url = await serveMcp(kind, auth, {
      v1() {
        const server = new McpServerV1(served)
        const tool = withNextcloudV1(auth, (extra, nextcloud) => {
          const { authInfo } = extra
          seen.push({
            info: authInfo as McpAuthInfo | undefined,
            context: { authInfo, extra: authInfo?.extra },
            nextcloud,
          })
          return done
        })
        server.registerTool('look', {}, tool)
        return server
      },
      v2() {
        const server = new McpServer(served)
        const tool = withNextcloud(auth, (ctx, nextcloud) => {
          seen.push({
            info: ctx.http?.authInfo as McpAuthInfo | undefined,
            context: { authInfo: ctx.http?.authInfo, extra: ctx.http?.authInfo?.extra },
            nextcloud,
          })
          return done
        })
        server.registerTool('look', {}, tool)
        return server
      },
    })
    const tokens = [await as.mint(), await as.mint({ jti: 'another' })]
    const client = await mcpClients[kind.startsWith('SDK v1') ? 'SDK v1, 2025-11-25' : 'SDK v2, 2025-11-25']({
      url,
      token: tokens[0] ?? '',
    })
    for (const token of tokens) {
      client.renew(token)
      expect(await client.callTool('look')).toEqual({ text: 'done', isError: false })
    }

    expect(seen.map(({ info }) => info?.token)).toEqual(tokens)
    for (const { info, context, nextcloud } of seen) {
      const secrets = [info?.token, nextcloud.token]
      for (const secret of secrets) expect(loggedAs([context, nextcloud])).not.toContain(secret)
      expect(await auth.getNextcloudToken(info ?? expect.unreachable())).toBe(nextcloud.token)
      // Another instance knows it by its token alone.
      expect(await open().verify(info?.token ?? '')).toMatchObject({ subject: 'alice' })
    }
  })
})

it('what a tool handler gets of Nextcloud can be copied and logged in app-password mode too, and shows no password', async () => {
  const { auth, connectAs, signIn } = await appPasswordWorld()
  await connectAs('alice.w')
  const http = { authInfo: await signIn() }
  const ctx = { http, mcpReq: { signal: new AbortController().signal } } as unknown
  let given: Nextcloud | undefined
  await withNextcloud(auth, (_ctx, nextcloud) => {
    given = nextcloud
    return { content: [] }
  })(ctx as never)

  const { credential } = given ?? expect.unreachable()
  expect(credential.type === 'basic' && credential.password).toEqual(expect.any(String))
  expect(loggedAs(given ?? {})).not.toContain(credential.type === 'basic' ? credential.password : '')
})

it('a copy without its token is told what to pass in its place, and is nobody in any mode', async () => {
  for (const mode of ['token-exchange', 'refresh-token', 'pass-through'] as const) {
    const { auth, signIn } = await world({ mode })
    const info = await signIn()
    for (const copy of [{ ...info }, JSON.parse(JSON.stringify(info)) as McpAuthInfo, Object.assign({}, info)]) {
      const failure = await failureOf(auth.nextcloudFetch(copy, '/status.php'))
      expect(failure).toBeInstanceOf(TypeError)
      expect(failure).toMatchObject({
        message:
          'who has members of a caller and no MCP token: a copy, made by a spread or by JSON, has none. Pass req.mcpAuth or authInfo itself, or { token }',
      })
    }
  }
})
