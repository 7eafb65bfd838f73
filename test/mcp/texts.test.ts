import { describe, expect, it } from 'vitest'
import type { McpClientKind } from '../support/mcp-clients.js'
import { mcpServers, type McpServerKind } from '../support/mcp-servers.js'
import { setUpMcp } from '../support/mcp-setup.js'

const TEXT =
  'Nextcloud is not connected yet. Ask the user to open this link in a browser until 2026-01-01T00:10:00.000Z: ' +
  'https://mcp.example.com/nextcloud/connect?ticket=the-ticket\n' +
  'It is for this user alone. When the user has connected Nextcloud there, call this tool again.'

const clientKinds: readonly McpClientKind[] = ['SDK v1, 2025-11-25', 'SDK v2, 2025-11-25', 'SDK v2, 2026-07-28']
const serverKinds = Object.keys(mcpServers) as McpServerKind[]
const everyPair = serverKinds.flatMap((serverKind) =>
  clientKinds.map((clientKind) => [clientKind, serverKind] as const),
)

describe.each(everyPair)('between a client (%s) and a server (%s)', (clientKind, serverKind) => {
  it.each([
    ['no elicitation', undefined],
    ['elicitation of forms alone', { form: {} }],
    ['elicitation of no mode in particular, which means forms', {}],
  ])('a client that declares %s gets the link as text, and goes on by a second call', async (_what, elicitation) => {
    const { client, connect } = await setUpMcp(serverKind)
    const { callTool, received } = await client(clientKind, { elicitation })

    expect(await callTool('read_note', { id: 7 })).toEqual({ text: TEXT, isError: true })
    expect(received()).not.toContain('input_required')
    await connect()
    expect(await callTool('read_note', { id: 7 })).toEqual({ text: 'note 7', isError: false })
  })

  it('a refusal without a link sends the user to the operator', async () => {
    const { client } = await setUpMcp(serverKind, { links: false })
    const { callTool, questions } = await client(clientKind, { answer: () => Promise.resolve('accept') })

    expect(await callTool('list_notes')).toEqual({
      text: 'Nextcloud is not connected yet, and there is no page for it here: the operator of this server has to connect this user.',
      isError: true,
    })
    expect(questions).toEqual([])
  })

  it('other errors of the handler pass unchanged', async () => {
    const { client, connect } = await setUpMcp(serverKind, {
      body: () => {
        throw new Error('The note is locked')
      },
    })
    await connect()
    const { callTool, questions } = await client(clientKind, { answer: () => Promise.resolve('accept') })

    expect(await callTool('list_notes')).toEqual({ text: 'The note is locked', isError: true })
    expect(questions).toEqual([])
  })
})

describe('a client that declares elicitation of URLs gets the link as text', () => {
  const answer = () => Promise.resolve('accept' as const)
  const withoutSessions = everyPair.filter(
    ([clientKind, serverKind]) => serverKind.endsWith('without sessions') && clientKind !== 'SDK v2, 2026-07-28',
  )
  it.each(withoutSessions)('where a server keeps no sessions: %s, %s', async (clientKind, serverKind) => {
    const { client } = await setUpMcp(serverKind)
    const { callTool, questions, received } = await client(clientKind, { answer })

    expect(await callTool('read_note', { id: 7 })).toEqual({ text: TEXT, isError: true })
    expect(questions).toEqual([])
    expect(received()).not.toContain('input_required')
  })

  const withSessions = everyPair.filter(([, serverKind]) => serverKind.includes('with sessions'))
  it.each(withSessions)('where withNextcloud is not told of the server: %s, %s', async (clientKind, serverKind) => {
    const { client } = await setUpMcp(serverKind, { namesServer: false })
    const { callTool, questions } = await client(clientKind, { answer })

    expect(await callTool('read_note', { id: 7 })).toEqual({ text: TEXT, isError: true })
    expect(questions).toEqual([])
  })
})

it('a client of 2026-07-28 is asked without withNextcloud being told of the server', async () => {
  const { client } = await setUpMcp('SDK v2 without sessions', { namesServer: false })
  const { callTool, questions } = await client('SDK v2, 2026-07-28', { answer: () => Promise.resolve('decline') })

  await callTool('read_note', { id: 7 })

  expect(questions).toHaveLength(1)
})
