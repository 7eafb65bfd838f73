import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { bareHost } from '../support/hosts.js'
import { mcpClients, type McpClientKind } from '../support/mcp-clients.js'
import { startMcpServer, type McpServerKind } from '../support/mcp-servers.js'
import { toolCalls } from '../support/mcp-setup.js'
import { CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { world, type WorldOf } from '../support/world.js'

/** Which clients are asked for a URL at which servers, and how many tools/call messages the SDK sends for the one call of the model. */
const askable: readonly (readonly [McpClientKind, McpServerKind, messages: number])[] = [
  ['SDK v1, 2025-11-25', 'SDK v1 with sessions', 1],
  ['SDK v1, 2025-11-25', 'SDK v2 with sessions', 1],
  ['SDK v2, 2025-11-25', 'SDK v1 with sessions', 1],
  ['SDK v2, 2026-07-28', 'SDK v2 without sessions', 2],
]

const CONNECTING = { mode: 'refresh-token', host: bareHost } as const

/** Everything that this process shows of its own accord. */
function listen(): string[] {
  const heard: string[] = []
  const hear = (event: unknown): void => void heard.push(inspect(event, { depth: 10 }))
  subscribe('mcp-nextcloud-auth', hear)
  process.on('warning', hear)
  const writes = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      heard.push(String(text))
      return true
    }),
  )
  onTestFinished(() => {
    unsubscribe('mcp-nextcloud-auth', hear)
    process.off('warning', hear)
    for (const write of writes) write.mockRestore()
  })
  return heard
}

/** A tool that has to reach Nextcloud, and a user who connects it when asked to. */
async function setUpTool(clientKind: McpClientKind, serverKind: McpServerKind, setup: WorldOf<typeof CONNECTING>) {
  const tokens: string[] = []
  const url = await startMcpServer(serverKind, {
    auth: setup.auth,
    body(nextcloud, id) {
      tokens.push(nextcloud.token)
      return `note ${id ?? 'list'}`
    },
  })
  const links: string[] = []
  /** What the user ends on. The tool may have its result before the browser has this page. */
  const pages: Promise<string>[] = []
  const client = await mcpClients[clientKind]({
    url,
    token: await setup.as.mint(),
    async answer(params) {
      const link = String(params['url'])
      links.push(link)
      const page = setup.walk(link).then(({ text }) => text)
      pages.push(page)
      await page
      return 'accept'
    },
  })
  return { client, tokens, links, pages }
}

describe.each(askable)('%s at %s', (clientKind, serverKind, messages) => {
  it('gets the result of its one tool call after the user has opened one link and agreed', async () => {
    const setup = await world(CONNECTING)
    const { client, tokens, links, pages } = await setUpTool(clientKind, serverKind, setup)

    expect(await client.callTool('read_note', { id: 7 })).toEqual({ text: 'note 7', isError: false })

    expect(links).toHaveLength(1)
    expect(await pages[0]).toContain('Connected')
    expect(tokens).toHaveLength(1)
    expect(toolCalls(client.sent)).toBe(messages)
    expect(await setup.stored()).toMatchObject({ state: 'active', accessToken: { token: tokens[0] } })
    expect(setup.refreshTokens.presented).toEqual([])
  })

  it('sees no token, code, secret or ticket, and nothing that this process says holds one, but for the link', async () => {
    const heard = listen()
    const setup = await world(CONNECTING)
    const { client, tokens, links } = await setUpTool(clientKind, serverKind, setup)
    await client.callTool('read_note', { id: 7 })
    setup.clock.advance(300_000)
    await client.callTool('list_notes')
    await setup.auth.revoke({ subject: 'alice' })

    const grantedTokens = setup.redeemed().map(({ form }) => form.get('code') ?? '')
    const verifiers = setup.redeemed().map(({ form }) => form.get('code_verifier') ?? '')
    const refreshTokens = setup.refreshTokens.families.flatMap((family) => family.tokens)
    const canaries = [...tokens, ...grantedTokens, ...verifiers, ...refreshTokens, CLIENT_SECRET, ENCRYPTION_KEY]
    expect(new Set(tokens)).toHaveLength(2)
    expect(refreshTokens.length).toBeGreaterThanOrEqual(2)
    expect(canaries.every((canary) => canary.length > 15)).toBe(true)

    const onTheWire = [...client.sent, client.received()].join('\n')
    const said = [...heard, ...setup.events.map((event) => JSON.stringify(event))].join('\n')
    for (const canary of canaries) {
      expect(onTheWire.includes(canary)).toBe(false)
      expect(said.includes(canary)).toBe(false)
    }
    const ticket = new URL(links[0] ?? '').searchParams.get('ticket') ?? ''
    expect(ticket).toHaveLength(43)
    expect(said.includes(ticket)).toBe(false)
    expect(onTheWire.replaceAll(links[0] ?? '', '').includes(ticket)).toBe(false)
    expect(onTheWire).not.toContain('-32042')
  })
})

it('a client that cannot show links gets the link as text, and the next call works', async () => {
  const setup = await world(CONNECTING)
  const url = await startMcpServer('SDK v2 without sessions', { auth: setup.auth, body: () => 'notes' })
  const client = await mcpClients['SDK v2, 2026-07-28']({
    url,
    token: await setup.as.mint(),
    elicitation: { form: {} },
  })

  const refusal = await client.callTool('list_notes')
  const [link = ''] = /https:\S+ticket=[\w-]+/.exec(refusal.text) ?? []
  await setup.walk(link)

  expect(refusal.isError).toBe(true)
  expect(await client.callTool('list_notes')).toEqual({ text: 'notes', isError: false })
})
