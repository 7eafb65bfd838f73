import { describe, expect, it } from 'vitest'
import { NotProvisionedError } from '../../src/index.js'
import type { McpClientKind } from '../support/mcp-clients.js'
import type { McpServerKind } from '../support/mcp-servers.js'
import { setUpMcp, toolCalls } from '../support/mcp-setup.js'

/** Where a client can be asked: how often the tool is called on the wire, and which wait it is that follows an `accept`. */
const pairs: readonly [McpClientKind, McpServerKind, { readonly calls: number; readonly waits: number }][] = [
  ['SDK v1, 2025-11-25', 'SDK v1 with sessions', { calls: 1, waits: 2 }],
  ['SDK v2, 2025-11-25', 'SDK v1 with sessions', { calls: 1, waits: 2 }],
  ['SDK v1, 2025-11-25', 'SDK v2 with sessions', { calls: 1, waits: 2 }],
  ['SDK v2, 2025-11-25', 'SDK v2 with sessions', { calls: 1, waits: 2 }],
  ['SDK v2, 2026-07-28', 'SDK v2 without sessions', { calls: 2, waits: 1 }],
]

const accept = () => Promise.resolve('accept' as const)

describe.each(pairs)('between a client (%s) and a server (%s)', (clientKind, serverKind, { calls, waits }) => {
  it.each([
    ['with an input schema', 'read_note', { id: 7 }, 'note 7'],
    ['without an input schema', 'list_notes', {}, 'note list'],
  ])('a tool %s takes one click and one call', async (_which, tool, args, result) => {
    const { client, connect, waitsBegun, link, tokens } = await setUpMcp(serverKind)
    const { callTool, questions, sent, received } = await client(clientKind, { answer: accept })

    const call = callTool(tool, args)
    await waitsBegun(waits)
    await connect()

    expect(await call).toEqual({ text: result, isError: false })
    expect(questions).toHaveLength(1)
    expect(questions[0]).toMatchObject({
      mode: 'url',
      url: link.connectUrl,
      message: 'Nextcloud is not connected yet. Open this page to connect it.',
    })
    expect(toolCalls(sent)).toBe(calls)
    expect(tokens).toHaveLength(1)
    expect(received()).not.toContain('-32042')
    expect(received()).not.toContain('notifications/elicitation/complete')
  })

  it.each([
    [
      'declines',
      'decline',
      'The user declined to connect Nextcloud. Do not call this tool again unless the user asks for it.',
    ],
    [
      'closes the question',
      'cancel',
      'The user closed the request to connect Nextcloud. If the user wants to connect it after all, call this tool again.',
    ],
  ] as const)('a user who %s is not asked again', async (_what, action, text) => {
    const { client, tokens } = await setUpMcp(serverKind)
    const { callTool, questions, sent } = await client(clientKind, { answer: () => Promise.resolve(action) })

    expect(await callTool('read_note', { id: 7 })).toEqual({ text, isError: true })
    expect(questions).toHaveLength(1)
    expect(toolCalls(sent)).toBe(calls)
    expect(tokens).toEqual([])
  })

  it.each([
    ['55 s', undefined, 55_000],
    ['what wait says', 3_000, 3_000],
  ])('an accept that no connection follows ends in a text after %s', async (_how, wait, ms) => {
    const { client, waitsBegun, advancing, tokens, grants } = await setUpMcp(serverKind, { wait })
    const { callTool, questions, sent } = await client(clientKind, { answer: accept })
    const call = callTool('read_note', { id: 7 })
    await waitsBegun(waits)
    const before = grants.clock.monotonic()

    const result = await advancing(call, ms / 10)

    expect(result).toEqual({
      text: 'The user has not connected Nextcloud in time. When the user has done so, call this tool again.',
      isError: true,
    })
    expect(grants.clock.monotonic() - before).toBeGreaterThanOrEqual(ms)
    expect(questions).toHaveLength(1)
    expect(toolCalls(sent)).toBe(calls)
    expect(tokens).toEqual([])
  })

  it('a call that the client cancels waits no longer', async () => {
    const { client, waitsBegun, waits: begun } = await setUpMcp(serverKind)
    const { callTool } = await client(clientKind, { answer: accept })
    const controller = new AbortController()

    const call = callTool('read_note', { id: 7 }, controller.signal)
    call.catch(() => undefined)
    await waitsBegun(waits)
    controller.abort()

    await expect(call).rejects.toThrow()
    expect(await Promise.all(begun)).toEqual(begun.map(() => false))
  })

  it('a refusal that the handler itself throws is asked about, and the handler runs again', async () => {
    let runs = 0
    const { client, connect, link } = await setUpMcp(serverKind, {
      body() {
        runs += 1
        if (runs === 1) throw new NotProvisionedError('revoked', link)
        return 'done'
      },
    })
    await connect()
    const { callTool, questions } = await client(clientKind, { answer: accept })

    expect(await callTool('list_notes')).toEqual({ text: 'done', isError: false })
    expect(questions).toHaveLength(1)
    expect(questions[0]).toMatchObject({
      message: 'The connection to Nextcloud was ended and must be made again. Open this page to connect it.',
    })
    expect(runs).toBe(2)
  })

  it('a refusal that stays after the connection is a text, and the user is asked once', async () => {
    const { client, connect, link } = await setUpMcp(serverKind, {
      body() {
        throw new NotProvisionedError('revoked', link)
      },
    })
    await connect()
    const { callTool, questions } = await client(clientKind, { answer: accept })

    const { text, isError } = await callTool('list_notes')

    expect(isError).toBe(true)
    expect(text).toContain(link.connectUrl)
    expect(questions).toHaveLength(1)
  })
})

const sessionPairs = pairs.filter(([, serverKind]) => serverKind.endsWith('with sessions'))

it.each(sessionPairs)(
  'tools that a client (%s) calls side by side at a server (%s) ask once, and all go on',
  async (clientKind, serverKind) => {
    const { client, connect, waitsBegun } = await setUpMcp(serverKind)
    let accept: (action: 'accept') => void = () => undefined
    const answer = new Promise<'accept'>((resolve) => (accept = resolve))
    const { callTool, questions } = await client(clientKind, { answer: () => answer })

    const calls = [callTool('list_notes'), callTool('read_note', { id: 1 }), callTool('read_note', { id: 2 })]
    await waitsBegun(3)
    accept('accept')
    await waitsBegun(6)
    await connect()

    expect((await Promise.all(calls)).map(({ text }) => text)).toEqual(['note list', 'note 1', 'note 2'])
    expect(questions).toHaveLength(1)
  },
)
