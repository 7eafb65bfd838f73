import { decodeJwt } from 'jose'
import type { Browser } from './browser.js'
import { browserOf, connectNotesClient, connectNotesClientV1, type NotesClient } from './client.js'
import { connectOnce } from './connect-scene.js'
import { observeFetch, type ObservedFetch } from './observed-fetch.js'
import type { Servers } from './start-servers.js'
import type { Timeline } from './timeline.js'

export interface Scene extends ObservedFetch {
  readonly servers: Servers
  readonly timeline: Timeline
  readonly browser: Browser
}

/**
 * The journey between an MCP client, an MCP server and Nextcloud, from the first request without a token to a note
 * written in the user's name. Every promise is checked against the real answer.
 */
export async function runScenario(servers: Servers, timeline: Timeline): Promise<void> {
  const names = new Map([
    [servers.identityProvider.issuer, 'provider'],
    [new URL(servers.mcpUrl).origin, 'MCP server'],
  ])
  const browser = browserOf('alice', ([, value], origin) =>
    timeline.step(`alice → ${names.get(origin) ?? origin}`, `presses “${value}”`),
  )
  const scene: Scene = { servers, timeline, browser, ...observeFetch(timeline, names) }

  const clients: NotesClient[] = []
  try {
    const client = await signIn(scene)
    clients.push(client)
    const firstCall = await readNote(scene, client)
    await presentMcpTokenToNextcloud(scene, client)
    await readNoteAgain(scene, client, firstCall)
    await writeNote(scene, client)
    const clientV1 = await useOtherServer(scene)
    clients.push(clientV1)
    await presentTokenOfOtherServer(scene, clientV1)
    clients.push(await connectOnce(scene))
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

async function signIn({ servers, timeline, browser, fetch, answers }: Scene): Promise<NotesClient> {
  timeline.heading('A client comes without a token, finds the provider, registers and signs in')
  const { mcpUrl } = servers
  const client = await connectNotesClient({ url: mcpUrl, browser, fetch })
  const refusal = answers.find(({ path }) => path === '/mcp')
  const metadata = mcpUrl.replace('/mcp', '/.well-known/oauth-protected-resource/mcp')
  timeline.check(
    'without a token: 401 and a challenge that names the metadata and the scope, and no error',
    refusal?.status === 401 &&
      refusal.challenge === `Bearer realm="mcp", resource_metadata="${metadata}", scope="notes:read"`,
  )
  timeline.check(
    'the client found the provider, registered itself and got a token',
    ['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-authorization-server', '/reg', '/token'].every(
      (step) => answers.some(({ path, status }) => path === step && status < 300),
    ),
  )
  const { aud } = showToken(timeline, 'The MCP token, from the client to this server', client)
  timeline.check('the MCP token is for this MCP server alone', aud === mcpUrl)
  return client
}

async function readNote({ servers, timeline }: Scene, client: NotesClient): Promise<number> {
  timeline.heading('A tool reads a note: the MCP token is exchanged for a Nextcloud token')
  const { text, duration } = await callTimed(client, 'read_note', { id: 1 })
  timeline.step('tool → client', `${text} (${duration.toFixed(1)} ms)`)
  timeline.check("the tool read alice's own note", text.includes('for alice'))

  const received = servers.nextcloud.received.at(-1)?.claims
  if (received !== undefined) timeline.claims('The Nextcloud token, as Nextcloud received it', received)
  const sent = decodeJwt(client.oauth.accessToken())
  timeline.check(
    'Nextcloud got another token: for the same user, with its own client id as audience',
    received?.aud === 'nextcloud' && received.sub === sent.sub && received.jti !== sent.jti,
  )
  return duration
}

async function presentMcpTokenToNextcloud({ servers, timeline }: Scene, { oauth }: NotesClient): Promise<void> {
  timeline.heading('Why an exchange: a server that passed the MCP token on would get nowhere')
  const path = '/ocs/v2.php/cloud/user'
  timeline.step('anyone → Nextcloud', `GET ${path} with the MCP token`)
  const headers = { Authorization: `Bearer ${oauth.accessToken()}`, 'OCS-APIRequest': 'true' }
  const { status, statusText } = await fetch(servers.nextcloud.url + path, { headers })
  timeline.step('Nextcloud → anyone', `${status} ${statusText}`)
  timeline.check('Nextcloud refuses the MCP token itself', status === 401)
}

async function readNoteAgain({ servers, timeline }: Scene, client: NotesClient, firstCall: number): Promise<void> {
  timeline.heading('The same again: both tokens are known')
  const before = servers.notes.auth.stats()
  const { text, duration } = await callTimed(client, 'read_note', { id: 1 })
  const after = servers.notes.auth.stats()
  timeline.step('tool → client', `${text} (${duration.toFixed(1)} ms; the first call took ${firstCall.toFixed(1)} ms)`)
  timeline.check(
    'a repeated call takes both tokens from the caches and asks the provider nothing',
    after.verifiedCacheHits > before.verifiedCacheHits &&
      after.nextcloudCacheHits === before.nextcloudCacheHits + 1 &&
      after.idpRequests === before.idpRequests,
  )
  timeline.check('one token was exchanged for two calls', servers.identityProvider.exchanges() === 1)
}

async function writeNote({ timeline, answers }: Scene, client: NotesClient): Promise<void> {
  timeline.heading('A tool that writes needs one scope more: step-up')
  const text = await client.callTool('create_note', { title: 'From MCP', content: 'Written with the wider scope' })
  timeline.step('tool → client', text)
  const challenge = answers.find(({ path, status }) => path === '/mcp' && status === 403)?.challenge ?? ''
  timeline.check(
    'writing without notes:write: 403 with every scope that the tool needs',
    challenge.includes('error="insufficient_scope"') && challenge.includes('scope="notes:read notes:write"'),
  )
  const { scope } = showToken(timeline, 'The new MCP token', client)
  timeline.check('alice was asked again, and the note was written', scope === 'notes:read notes:write' && text !== '')
}

async function useOtherServer({ servers, timeline, browser, fetch }: Scene): Promise<NotesClient> {
  timeline.heading('A client and a server on MCP SDK v1, which is another resource at the same provider')
  const client = await connectNotesClientV1({ url: servers.mcpV1Url, browser, fetch })
  const text = await client.callTool('list_notes')
  timeline.step('tool → client', text.replaceAll('\n', ', '))
  timeline.check('SDK v1 signs in too and sees the new note', text.includes('From MCP'))
  return client
}

async function presentTokenOfOtherServer(scene: Scene, clientV1: NotesClient): Promise<void> {
  const { servers, timeline, fetch, answers } = scene
  timeline.heading('A genuine token of the same user, but for the other MCP server')
  showToken(timeline, 'The token', clientV1)
  const { status } = await fetch(servers.mcpUrl, {
    method: 'POST',
    headers: { Authorization: `Bearer ${clientV1.oauth.accessToken()}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  })
  timeline.check(
    'a token for another audience: 401 invalid_token',
    status === 401 && answers.at(-1)?.challenge.includes('error="invalid_token"') === true,
  )
}

function showToken(timeline: Timeline, name: string, { oauth }: NotesClient): ReturnType<typeof decodeJwt> {
  const claims = decodeJwt(oauth.accessToken())
  timeline.claims(name, claims)
  return claims
}

async function callTimed(
  client: NotesClient,
  tool: string,
  args: Record<string, unknown>,
): Promise<{ readonly text: string; readonly duration: number }> {
  const start = performance.now()
  const text = await client.callTool(tool, args)
  return { text, duration: performance.now() - start }
}
