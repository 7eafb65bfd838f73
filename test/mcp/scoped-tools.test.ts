/* eslint-disable @typescript-eslint/no-deprecated -- a Server is for handlers of one's own, which is the case here */
import { InMemoryTransport as InMemoryTransportV1 } from '@modelcontextprotocol/sdk/inMemory.js'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { Server as ServerV1 } from '@modelcontextprotocol/sdk/server/index.js'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { createMcpHandler, InMemoryTransport, McpServer, Server } from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import { ConfigurationError, type McpAuth, type McpAuthOptions } from '../../src/index.js'
import { scopedTools as scopedToolsV1 } from '../../src/mcp/v1.js'
import { scopedTools, type ToolScopes } from '../../src/mcp/v2.js'
import { hosts, type Host } from '../support/hosts.js'
import { mcpClients, type McpClient, type McpClientKind } from '../support/mcp-clients.js'
import { mcpServers, serveMcp, type McpServerKind, type ServerOfEither } from '../support/mcp-servers.js'
import { world, type World } from '../support/world.js'

const INFO = { name: 'notes', version: '1.0.0' }
const SCOPES: ToolScopes = { read_note: ['notes:read'], write_note: ['notes:read', 'notes:write'] }
const TOOLS = ['help', 'read_note', 'write_note']
/** An HTTP answer 403, as the clients tell it. */
const REFUSED = /insufficient_scope|Insufficient scope/
const RESULT = { content: [{ type: 'text' as const, text: 'done' }] }
const LACKS = {
  text: 'The access token lacks a scope that this operation needs. It needs: notes:read notes:write. The user has to sign in to this server again and allow that.',
  isError: true,
}
const DONE = { text: 'done', isError: false }
const KINDS = Object.keys(mcpServers) as McpServerKind[]
const V2 = KINDS.filter((kind) => kind.startsWith('SDK v2'))

/** A server in either SDK, which is changed before its tools are there and after. */
interface Given {
  readonly before?: (server: McpServerV1 | McpServer, auth: McpAuth) => void
  readonly after?: (server: McpServerV1 | McpServer, auth: McpAuth, tools: Readonly<Record<string, Handle>>) => void
}

/** A tool that is registered. */
interface Handle {
  enable(): void
  disable(): void
  remove(): void
}

function scope(server: object, auth: McpAuth, scopes = SCOPES): void {
  const scopeIt = server instanceof McpServerV1 || server instanceof ServerV1 ? scopedToolsV1 : scopedTools
  scopeIt(auth, server as McpServer, scopes)
}

const scopeAll = (server: object, auth: McpAuth): void => scope(server, auth)

function withTools<S extends McpServerV1 | McpServer>(server: S, auth: McpAuth, { before, after }: Given): S {
  before?.(server, auth)
  const tools = Object.fromEntries(TOOLS.map((name): [string, Handle] => [name, register(server, name)]))
  after?.(server, auth, tools)
  return server
}

const register = (server: McpServerV1 | McpServer, name: string): Handle =>
  (server as McpServer).registerTool(name, {}, () => RESULT)

const either = (auth: McpAuth, given: Given): ServerOfEither => ({
  v1: () => withTools(new McpServerV1(INFO), auth, given),
  v2: () => withTools(new McpServer(INFO), auth, given),
})

interface Scoped {
  readonly bed: World
  readonly auth: McpAuth
  readonly url: string
  readonly token: (scope: string) => Promise<string>
  readonly client: (scope: string, kind?: McpClientKind) => Promise<McpClient>
  readonly post: (scope: string, ...messages: object[]) => Promise<Response>
}

async function serve(
  kind: McpServerKind,
  given: Given | ((auth: McpAuth) => ServerOfEither) = { after: scopeAll },
  options: McpAuthOptions = {},
  host?: Host,
): Promise<Scoped> {
  const bed = await world({ mode: 'none', options })
  const { auth } = bed
  const url = await serveMcp(kind, auth, typeof given === 'function' ? given(auth) : either(auth, given), host)
  const token = (scope: string): Promise<string> => bed.as.mint({ scope })
  return {
    bed,
    auth,
    url,
    token,
    client: async (scope, clientKind = 'SDK v1, 2025-11-25') =>
      mcpClients[clientKind]({ url, token: await token(scope) }),
    post: async (scope, ...messages) => {
      const headers = {
        authorization: `Bearer ${await token(scope)}`,
        accept: 'application/json, text/event-stream',
        'content-type': 'application/json',
      }
      const send = (body: unknown, more: Record<string, string> = {}): Promise<Response> =>
        fetch(url, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) })
      const calls = messages.map((message, id) => ({ jsonrpc: '2.0', id, ...message }))
      const params = { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: INFO }
      const opened = await send({ jsonrpc: '2.0', id: 'first', method: 'initialize', params })
      const session = opened.headers.get('mcp-session-id')
      await opened.text()
      return send(calls.length === 1 ? calls[0] : calls, session === null ? {} : { 'mcp-session-id': session })
    },
  }
}

const call = (name: string): object => ({ method: 'tools/call', params: { name, arguments: {} } })

/** Clients that a kind of server serves. */
const clientsOf = (kind: McpServerKind): McpClientKind[] =>
  kind === 'SDK v2 without sessions'
    ? ['SDK v1, 2025-11-25', 'SDK v2, 2025-11-25', 'SDK v2, 2026-07-28']
    : ['SDK v1, 2025-11-25', 'SDK v2, 2025-11-25']

const pairs = KINDS.flatMap((kind) => clientsOf(kind).map((client) => [client, kind] as const))

describe.each(['before', 'after'] as const)('scoped %s the tools are registered', (when) => {
  it.each(pairs)(
    'a client (%s) of a server (%s) is shown, and may call, what its token allows',
    async (clientKind, kind) => {
      const { client } = await serve(kind, { [when]: scopeAll })

      const [nobody, reader, writer] = await Promise.all(
        ['openid', 'notes:read', 'openid notes:write notes:read'].map((scopes) => client(scopes, clientKind)),
      )

      expect(await nobody?.listTools()).toEqual(['help'])
      expect(await reader?.listTools()).toEqual(['help', 'read_note'])
      expect(await writer?.listTools()).toEqual(TOOLS)
      expect(await nobody?.callTool('help')).toEqual(DONE)
      expect(await reader?.callTool('read_note')).toEqual(DONE)
      expect(await writer?.callTool('write_note')).toEqual(DONE)
      if (V2.includes(kind)) await expect(reader?.callTool('write_note')).rejects.toThrow(REFUSED)
      else expect(await reader?.callTool('write_note')).toEqual(LACKS)
    },
  )
})

describe.each(hosts)('without sessions, on $name', (host) => {
  it('a call without its scopes is a 403 in SDK v2, whose challenge names them all', async () => {
    const { post } = await serve('SDK v2 without sessions', undefined, {}, host)

    const response = await post('openid notes:write', call('write_note'))
    expect(response.status).toBe(403)
    expect(response.headers.get('www-authenticate')).toContain('scope="notes:read notes:write"')
    expect((await post('notes:read notes:write', call('write_note'))).status).toBe(200)
  })

  it('such a call is a text in SDK v1', async () => {
    const { post } = await serve('SDK v1 without sessions', undefined, {}, host)

    const response = await post('openid notes:write', call('write_note'))
    expect([response.status, (await response.text()).includes(LACKS.text)]).toEqual([200, true])
  })

  it.each<[string, McpServerKind, number]>([
    ['is not allowed in SDK v2', 'SDK v2 without sessions', 405],
    ['that takes no stream is told so in SDK v1', 'SDK v1 without sessions', 406],
  ])('a GET %s, and is a 401 without a token', async (_what, kind, status) => {
    const { url, token } = await serve(kind, undefined, {}, host)

    const headers = { authorization: `Bearer ${await token('openid')}`, accept: 'application/json' }
    const [good, bad] = [await fetch(url, { headers }), await fetch(url)]
    expect([good.status, bad.status]).toEqual([status, 401])
    for (const response of [good, bad]) await response.text()
  })
})

describe.each(V2)('a call without its scopes at a server (%s)', (kind) => {
  it('is a 403 whose challenge names all of its scopes', async () => {
    const { bed, post } = await serve(kind)

    const response = await post('openid notes:write', call('write_note'))

    expect(response.status).toBe(403)
    expect(response.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_scope", error_description="The access token lacks a scope that this operation needs", scope="notes:read notes:write", ' +
        'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"',
    )
    expect(await response.json()).toEqual({
      error: 'insufficient_scope',
      error_description: 'The access token lacks a scope that this operation needs',
    })
    expect(bed.events.filter(({ type }) => type === 'token.rejected')).toEqual([
      expect.objectContaining({ reason: 'scope', expected: ['notes:read', 'notes:write'] }),
    ])
  })

  it('names the scopes of every request too, and no offline_access', async () => {
    const { post } = await serve(kind, undefined, { requiredScopes: ['mcp', 'offline_access'] })

    const response = await post('mcp offline_access', call('read_note'))

    expect(response.headers.get('www-authenticate')).toContain(' scope="mcp notes:read", ')
  })

  it('that only lacks offline_access, which no challenge may name, is a text', async () => {
    const { client } = await serve(kind, { after: (server, auth) => scope(server, auth, { help: ['offline_access'] }) })

    expect(await (await client('notes:read')).callTool('help')).toMatchObject({ isError: true })
  })

  it('in a batch is the 403 of the first of them', async () => {
    const { post } = await serve(kind)
    if (kind === 'SDK v2 without sessions') return

    const response = await post('openid', call('help'), call('write_note'), call('read_note'))

    expect([response.status, response.headers.get('www-authenticate')]).toEqual([
      403,
      expect.stringContaining('scope="notes:read notes:write"'),
    ])
  })

  it.each(['disable', 'remove'] as const)(
    'is no challenge after %s(), because more scopes would not help',
    async (how) => {
      const { client, post } = await serve(kind, {
        after: (server, auth, tools) => {
          scope(server, auth)
          tools['write_note']?.[how]()
        },
      })

      expect((await post('openid', call('write_note'))).status).toBe(200)
      expect(await (await client('openid')).callTool('write_note')).toEqual(LACKS)
      expect(await (await client('notes:read notes:write')).listTools()).toEqual(['help', 'read_note'])
    },
  )

  it('leaves the challenge of a tool of its own in place', async () => {
    const { post } = await serve(kind, {
      before: (server, auth) => {
        scope(server, auth)
        const scopeChallenge = () => ({ scopes: ['own'] }) as const
        if (server instanceof McpServer) server.registerTool('owner', { scopeChallenge }, () => RESULT)
      },
    })

    expect((await post('openid', call('owner'))).headers.get('www-authenticate')).toContain('scope="own"')
    expect((await post('openid', call('write_note'))).headers.get('www-authenticate')).toContain('notes:write"')
  })

  it('is a 403 too where the Server within an McpServer is named, and its own challenges stay', async () => {
    if (kind === 'SDK v2 without sessions') return
    const { post } = await serve(kind, {
      before: (server, auth) => {
        scope(server.server, auth)
        const scopeChallenge = () => ({ scopes: ['own'] }) as const
        if (server instanceof McpServer) server.registerTool('owner', { scopeChallenge }, () => RESULT)
      },
    })

    expect((await post('openid', call('owner'))).headers.get('www-authenticate')).toContain('scope="own"')
    expect((await post('openid', call('write_note'))).headers.get('www-authenticate')).toContain('notes:write"')
  })
})

describe.each(KINDS.filter((kind) => kind.startsWith('SDK v1')))('a server (%s)', (kind) => {
  it('answers each call of a batch by itself', async () => {
    const { bed, post } = await serve(kind)

    const response = await post('notes:read', call('help'), call('write_note'), call('read_note'))

    expect(response.status).toBe(200)
    const answer = await response.text()
    expect([answer.split('"text":"done"').length - 1, answer.split(LACKS.text).length - 1]).toEqual([2, 1])
    expect(bed.events.filter(({ type }) => type === 'token.rejected')).toHaveLength(1)
  })
})

describe.each(KINDS)('at a server (%s)', (kind) => {
  it('a wider scope is enough where scopeSatisfies says so, and nothing but true says so', async () => {
    const wide = await serve(kind, undefined, {
      scopeSatisfies: (granted, required) =>
        granted.includes(required) || granted.includes(required.split(':')[0] ?? ''),
    })
    const client = await wide.client('notes')
    expect(await client.listTools()).toEqual(TOOLS)
    expect(await client.callTool('write_note')).toEqual(DONE)

    const truthy = await serve(kind, undefined, { scopeSatisfies: (() => Promise.resolve(true)) as never })
    expect(await (await truthy.client('notes:read notes:write')).listTools()).toEqual(['help'])
  })

  it('the scopes of a session are those of the token that each request brings', async () => {
    const { client, token } = await serve(kind)
    const user = await client('notes:read')
    expect(await user.listTools()).toEqual(['help', 'read_note'])

    user.renew(await token('notes:read notes:write'))
    expect(await user.listTools()).toEqual(TOOLS)
    expect(await user.callTool('write_note')).toEqual(DONE)

    user.renew(await token('openid'))
    expect(await user.listTools()).toEqual(['help'])
    if (V2.includes(kind)) await expect(user.callTool('read_note')).rejects.toThrow(REFUSED)
    else expect(await user.callTool('read_note')).toMatchObject({ isError: true })
  })

  it('the list of a Server with handlers of its own is filtered page by page', async () => {
    const pages: Record<string, readonly string[]> = {
      '': ['help', 'read_note'],
      two: ['write_note'],
      three: ['about'],
    }
    const list = (params: { cursor?: string | undefined } | undefined) => {
      const at = params?.cursor ?? ''
      const next = Object.keys(pages)[Object.keys(pages).indexOf(at) + 1]
      const tools = pages[at]?.map((name) => ({ name, inputSchema: { type: 'object' as const } })) ?? []
      return { tools, ...(next !== undefined && { nextCursor: next }) }
    }
    const options = { capabilities: { tools: {} } }
    const { client } = await serve(kind, (auth) => ({
      v1: () => {
        const server = new ServerV1(INFO, options)
        scope(server, auth)
        server.setRequestHandler(ListToolsRequestSchema, ({ params }) => list(params))
        server.setRequestHandler(CallToolRequestSchema, () => RESULT)
        return server
      },
      v2: () => {
        const server = new Server(INFO, options)
        server.setRequestHandler('tools/list', ({ params }) => list(params))
        server.setRequestHandler('tools/call', () => RESULT)
        scope(server, auth)
        return server
      },
    }))
    const reader = await client('notes:read')

    expect(await reader.listTools()).toEqual(['help', 'read_note', 'about'])
    expect(await reader.callTool('read_note')).toEqual(DONE)
    if (V2.includes(kind)) await expect(reader.callTool('write_note')).rejects.toThrow(REFUSED)
    else expect(await reader.callTool('write_note')).toEqual(LACKS)
  })

  it('a handler for all methods is guarded', async () => {
    const { client, post } = await serve(kind, (auth) => {
      const options = { capabilities: { tools: {} } }
      const answer = <S extends ServerV1 | Server>(server: S): S => {
        scope(server, auth)
        server.fallbackRequestHandler = ({ method }: { method: string }) =>
          Promise.resolve(
            method === 'tools/call' ? RESULT : { tools: [{ name: 'write_note', inputSchema: { type: 'object' } }] },
          )
        return server
      }
      return { v1: () => answer(new ServerV1(INFO, options)), v2: () => answer(new Server(INFO, options)) }
    })
    const reader = await client('notes:read')

    expect(await reader.listTools()).toEqual([])
    expect(await reader.callTool('read_note')).toEqual(DONE)
    if (V2.includes(kind)) await expect(reader.callTool('write_note')).rejects.toThrow(REFUSED)
    else expect(await reader.callTool('write_note')).toEqual(LACKS)
    for (const name of [['write_note'], null, { toString: 'write_note' }]) {
      const answer = await post('notes:read', { method: 'tools/call', params: { name, arguments: {} } })
      expect(await answer.text()).toMatch(/"code":-32602,"message":"The name of a tool must be a string"/)
    }
  })

  it('a tool that the map names and the server has not is an error at each connect, for the operator too', async () => {
    const { bed, post } = await serve(kind, {
      after: (server, auth) => scope(server, auth, { wirte_note: ['notes:write'] }),
    })

    expect((await post('notes:read', call('help'))).status).toBe(500)
    expect(bed.events.find(({ type }) => type === 'request.failed')).toMatchObject({
      code: 'ERR_CONFIGURATION',
      message:
        'scopedTools names the tool wirte_note, and the server has none of that name when it is connected. Did you mean write_note? ' +
        'A tool that comes later is registered before and disabled',
    })
  })
})

it('createMcpHandler asks no Server for challenges in 2026-07-28, so that the refusal is a text', async () => {
  const { client } = await serve('SDK v2 without sessions', (auth) => ({
    v1: () => new ServerV1(INFO),
    v2: () => {
      const server = new Server(INFO, { capabilities: { tools: {} } })
      server.setRequestHandler('tools/list', () => ({ tools: [] }))
      server.setRequestHandler('tools/call', () => RESULT)
      scope(server, auth)
      return server
    },
  }))

  expect(await (await client('notes:read', 'SDK v2, 2026-07-28')).callTool('write_note')).toEqual(LACKS)
})

it.each(KINDS)(
  'a scopeSatisfies that throws lets nobody in, and its words do not reach a client (%s)',
  async (kind) => {
    const { bed, client } = await serve(kind, undefined, {
      scopeSatisfies: () => {
        throw new Error('words of the app')
      },
    })
    const user = await client('notes:read notes:write')

    await expect(user.listTools()).rejects.toThrow()
    await user.callTool('write_note').catch(() => undefined)
    expect(user.received()).not.toContain('words of the app')
    expect(user.received()).not.toContain('"text":"done"')
    expect(bed.events).toContainEqual(expect.objectContaining({ type: 'request.failed', code: 'ERR_INTERNAL' }))
  },
)

it('over HTTP without the middleware a call is a text, because a client without a token has none to step up from', async () => {
  const { auth } = await world({ mode: 'none' })
  const handler = createMcpHandler(() => withTools(new McpServer(INFO), auth, { after: scopeAll }))
  const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...call('write_note') })

  const response = await handler.fetch(new Request('https://mcp.example.com/mcp', { method: 'POST', headers, body }))

  expect(response.status).toBe(200)
  expect(await response.text()).toContain(LACKS.text)
  await handler.close()
})

it('scopes that are no list are none', async () => {
  const { auth } = await world({ mode: 'none' })

  expect(auth.scopeRefusal({ scopes: 'admins' as never }, ['admin'])).toMatchObject({ requiredScopes: ['admin'] })
})

it('a list for one token is for no shared cache, whatever the server says of its lists (2026-07-28)', async () => {
  const cacheHints = { 'tools/list': { cacheScope: 'public', ttlMs: 60_000 } } as const
  const { client } = await serve('SDK v2 without sessions', (auth) => ({
    v1: () => new McpServerV1(INFO),
    v2: () => withTools(new McpServer(INFO, { cacheHints }), auth, { after: scopeAll }),
  }))
  const { listTools, received } = await client('notes:read', 'SDK v2, 2026-07-28')

  expect(await listTools()).toEqual(['help', 'read_note'])
  expect(received()).toContain('"cacheScope":"private"')
  expect(received()).not.toContain('"cacheScope":"public"')
})

it.each([
  ['v1', InMemoryTransportV1, () => new McpServerV1(INFO)],
  ['v2', InMemoryTransport, () => new McpServer(INFO)],
])(
  'without the middleware before it, a server of SDK %s shows and runs only what is free',
  async (_sdk, Pair, create) => {
    const { auth } = await world({ mode: 'none' })
    const server = withTools(create(), auth, { after: scopeAll })
    const [ours, theirs] = Pair.createLinkedPair()
    await server.connect(ours)
    const client = new ClientV1(INFO)
    await client.connect(theirs)

    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['help'])
    expect(await client.callTool({ name: 'write_note' })).toMatchObject({
      isError: true,
      content: [{ text: LACKS.text }],
    })
    expect(await client.callTool({ name: 'help' })).toMatchObject(RESULT)
    await client.close()
  },
)

it.each([
  ['v1', InMemoryTransportV1, () => new McpServerV1(INFO)],
  ['v2', InMemoryTransport, () => new McpServer(INFO)],
])(
  'a server of SDK %s that is connected already is scoped from there on, for tools that come later too',
  async (_sdk, Pair, create) => {
    const { auth } = await world({ mode: 'none' })
    const tools: Record<string, Handle> = {}
    const server = withTools(create(), auth, { after: (_server, _auth, all) => Object.assign(tools, all) })
    const [ours, theirs] = Pair.createLinkedPair()
    await server.connect(ours)
    const client = new ClientV1(INFO)
    await client.connect(theirs)
    const names = async () => (await client.listTools()).tools.map(({ name }) => name)

    expect(() => scope(server, auth, { later: ['notes:read'] })).toThrow(ConfigurationError)
    scope(server, auth)
    expect(await names()).toEqual(['help'])
    tools['help']?.disable()
    expect(await names()).toEqual([])
    tools['help']?.enable()
    register(server, 'more')
    expect(await names()).toEqual(['help', 'more'])
    tools['write_note']?.remove()
    register(server, 'write_note')
    expect(await names()).toEqual(['help', 'more'])
    expect(await client.callTool({ name: 'write_note' })).toMatchObject({ isError: true })
    await client.close()

    // Removed since, and no fault of the map.
    tools['read_note']?.remove()
    const [again] = Pair.createLinkedPair()
    await server.connect(again)
    await server.close()
  },
)

describe.each([
  ['v1', scopedToolsV1, () => new McpServerV1(INFO)],
  ['v2', scopedTools, () => new McpServer(INFO)],
] as const)('scopedTools of SDK %s', (_sdk, scopeIt, create) => {
  it.each([
    ['no object', undefined],
    ['a list', [['help', ['a']]]],
    ['a Map', new Map([['help', ['a']]])],
    ['a tool without a list', { help: 'notes:read' }],
    ['a tool with an empty list, which is free without being named', { help: [] }],
    ['a scope that is none', { help: ['notes read'] }],
    ['a scope that is no string', { help: ['notes', undefined] }],
  ])('refuses %s', async (_what, map) => {
    const { auth } = await world({ mode: 'none' })

    expect(() => scopeIt(auth, create() as never, map as never)).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIGURATION', option: 'scopedTools' }),
    )
  })

  it('refuses a second call for a server, whether by the McpServer or by its Server, and no other server', async () => {
    const { auth } = await world({ mode: 'none' })
    const server = create()
    scopeIt(auth, server, SCOPES)

    for (const same of [server, server.server]) expect(() => scopeIt(auth, same, SCOPES)).toThrow(/once for a server/)
    scopeIt(auth, create(), SCOPES)
  })

  it('refuses what is no server, a server that it does not know, and what is no middleware', async () => {
    const { auth } = await world({ mode: 'none' })
    const refusal = (option: string) => expect.objectContaining({ code: 'ERR_CONFIGURATION', option }) as object

    expect(() => scopeIt(auth, undefined as never, SCOPES)).toThrow(refusal('server'))
    expect(() => scopeIt(auth, {} as never, SCOPES)).toThrow(refusal('server'))
    expect(() => scopeIt(auth, { getClientCapabilities: () => ({}) }, SCOPES)).toThrow(refusal('server'))
    expect(() => scopeIt(undefined as never, create() as never, SCOPES)).toThrow(refusal('auth'))
    expect(() => scopeIt({} as never, create() as never, SCOPES)).toThrow(refusal('auth'))
  })

  it('is held by the map as it was when it was called', async () => {
    const { auth } = await world({ mode: 'none' })
    const map: Record<string, string[]> = { help: ['admin'] }
    const server = create()
    scopeIt(auth, server, map)
    map['help']?.splice(0)
    withTools(server, auth, {})
    const [ours, theirs] = InMemoryTransport.createLinkedPair()
    await server.connect(ours)
    const client = new ClientV1(INFO)
    await client.connect(theirs)

    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['read_note', 'write_note'])
    await client.close()
  })
})

it('a promise that rejects is no verdict either, and ends no process', async () => {
  const { auth } = await world({
    mode: 'none',
    options: { scopeSatisfies: (() => Promise.reject(new Error('not a verdict'))) as never },
  })

  expect(auth.scopeRefusal({ scopes: ['admin'] }, ['admin'])).toMatchObject({ requiredScopes: ['admin'] })
})
