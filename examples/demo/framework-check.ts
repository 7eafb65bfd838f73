import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createMcpHandler, McpServer, type McpHttpHandler } from '@modelcontextprotocol/server'
import { mcpAuth, type McpAuth } from 'mcp-nextcloud-auth'
import { fakeNextcloud } from 'mcp-nextcloud-auth/testing'
import { browserOf, connectNotesClient } from './client.js'
import { startIdentityProvider } from './identity-provider.js'
import { listenOnLoopback } from './loopback.js'
import { createTimeline, type Timeline } from './timeline.js'

/** The app of an example, ready to take requests. */
export interface FrameworkApp {
  readonly listener: RequestListener
  readonly close: () => Promise<unknown>
}

/** The parts that an example gives to its app, or takes from the environment. */
export interface FrameworkParts {
  readonly auth: McpAuth
  readonly resource: string
  readonly issuer: string
  readonly mcp: McpHttpHandler
}

export interface Framework {
  /** The MCP server of the example, with the tool `whoami`. */
  readonly createMcp: (auth: McpAuth) => McpHttpHandler
  readonly start: (parts: FrameworkParts) => FrameworkApp | Promise<FrameworkApp>
}

const ORIGIN = 'https://app.example.com'
const SCOPE = 'notes:read'
/** Milliseconds until something that does not happen counts as not happening. */
const PATIENCE = 20_000

/** Uses the app of an example against the demo's provider and Nextcloud, as MCP clients do. Resolves to the exit status. */
export async function checkFramework({ createMcp, start }: Framework): Promise<0 | 1> {
  const timeline = createTimeline(process.stdout)
  const identityProvider = await startIdentityProvider()
  const nextcloud = await fakeNextcloud({ provider: identityProvider })
  const server = await listenOnLoopback()
  const resource = `${server.origin}/mcp`
  identityProvider.registerResource(resource, [SCOPE])
  const { issuer, client } = identityProvider
  const auth = mcpAuth({
    issuer,
    ...client,
    resource,
    nextcloud: { url: nextcloud.url },
    requiredScopes: [SCOPE],
    scopesSupported: [SCOPE],
    onEvent: () => undefined,
  })
  try {
    const app = await start({ auth, resource, issuer, mcp: createMcp(auth) })
    server.serve(app.listener)
    await checkMetadata(timeline, { resource, issuer })
    await checkRefusals(timeline, resource)
    const token = await identityProvider.issueAccessToken({ subject: 'bob', resource, scope: SCOPE })
    await checkBodies(timeline, { resource, token })
    const mcpClient = await connectNotesClient({ url: resource, browser: browserOf('bob') })
    const answer = await mcpClient.callTool('whoami')
    timeline.check('an MCP client signs in at the provider, and its tool acts as bob', answer.includes('"id":"bob"'))
    await mcpClient.close()
    await app.close()

    const slow = slowServer()
    const streaming = await start({ auth, resource, issuer, mcp: slow.mcp })
    server.serve(streaming.listener)
    await checkStream(timeline, { resource, token, goOn: slow.goOn })
    await checkHangUp(timeline, { resource, token, aborted: slow.aborted })
    await streaming.close()
  } catch (error) {
    timeline.check(`no step fails, but one did: ${error instanceof Error ? error.message : 'unknown'}`, false)
  } finally {
    await auth.close()
    await Promise.all([server.close(), nextcloud.close(), identityProvider.close()])
  }
  return timeline.summary() ? 0 : 1
}

async function checkMetadata(
  timeline: Timeline,
  { resource, issuer }: { readonly resource: string; readonly issuer: string },
): Promise<void> {
  for (const path of ['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-protected-resource']) {
    const answer = await fetch(new URL(path, resource), { headers: { Origin: ORIGIN } })
    const document = (await answer.json()) as Record<string, unknown>
    timeline.check(
      `the metadata is at ${path}, for browsers too`,
      document['resource'] === resource &&
        String(document['authorization_servers']) === issuer &&
        String(document['scopes_supported']) === SCOPE &&
        answer.headers.get('access-control-allow-origin') === '*',
    )
  }
}

async function checkRefusals(timeline: Timeline, resource: string): Promise<void> {
  const post = { method: 'POST', headers: { 'Content-Type': 'application/json', Origin: ORIGIN }, body: ping }
  const refused = await fetch(resource, post)
  const body = (await refused.json()) as Record<string, unknown>
  const challenge = refused.headers.get('www-authenticate') ?? ''
  timeline.check(
    'without a token it is 401 with a challenge and a JSON body',
    refused.status === 401 &&
      challenge.includes(
        `resource_metadata="${new URL('/.well-known/oauth-protected-resource/mcp', resource).href}"`,
      ) &&
      challenge.includes(`scope="${SCOPE}"`) &&
      body['error'] === 'unauthorized' &&
      refused.headers.get('content-type')?.startsWith('application/json') === true &&
      refused.headers.get('cache-control') === 'no-store',
  )
  timeline.check(
    'browsers may read that challenge',
    refused.headers.get('access-control-allow-origin') !== null &&
      refused.headers.get('access-control-expose-headers')?.includes('WWW-Authenticate') === true,
  )
  const invalid = await fetch(resource, { ...post, headers: { ...post.headers, Authorization: 'Bearer nonsense' } })
  timeline.check(
    'a bad token is 401 invalid_token',
    invalid.status === 401 && invalid.headers.get('www-authenticate')?.includes('error="invalid_token"') === true,
  )
  // A body that is no JSON comes to nobody without a token.
  const unread = await fetch(resource, { ...post, body: '{' })
  timeline.check('and so is a request whose body is no JSON', unread.status === 401)
  const preflight = await fetch(resource, {
    method: 'OPTIONS',
    headers: {
      Origin: ORIGIN,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,content-type,mcp-protocol-version',
    },
  })
  timeline.check(
    'a preflight passes without a token',
    preflight.ok &&
      preflight.headers.get('access-control-allow-origin') !== null &&
      /authorization/i.test(preflight.headers.get('access-control-allow-headers') ?? ''),
  )
}

async function checkBodies(timeline: Timeline, { resource, token }: Called): Promise<void> {
  const listed = await call({ resource, token }, { method: 'tools/list' })
  timeline.check('a verified call is answered', listed.status === 200 && (await listed.text()).includes('whoami'))
  const broken = await fetch(resource, { ...init(token), body: '{' })
  timeline.check('a body that is no JSON is a 400', broken.status === 400)
  const long = await call({ resource, token }, { method: 'tools/list', params: { padding: 'x'.repeat(300_000) } })
  timeline.check('a body of 300 KB is read', long.status === 200)
  const opened = await fetch(resource, { method: 'GET', headers: { Authorization: `Bearer ${token}` } })
  timeline.check('GET is the 405 of the MCP server', opened.status === 405)
  const headers: [string, string][] = [
    ['Authorization', `Bearer ${token}`],
    ['Authorization', 'Bearer another'],
  ]
  const two = await fetch(resource, { method: 'POST', headers })
  timeline.check('two Authorization headers are not one', two.status === 400)
}

async function checkStream(
  timeline: Timeline,
  { resource, token, goOn }: Called & { readonly goOn: () => void },
): Promise<void> {
  const answer = await call({ resource, token }, { method: 'tools/call', params: slowCall })
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
    text += part.value
    // The tool waits for this: an answer that is held back until its end would never get here.
    if (text.includes('"progress":1')) goOn()
  }
  timeline.check(
    'a stream of events comes piece by piece, with its result at the end',
    answer.headers.get('content-type')?.startsWith('text/event-stream') === true && text.includes('"text":"done"'),
  )
}

async function checkHangUp(
  timeline: Timeline,
  { resource, token, aborted }: Called & { readonly aborted: () => Promise<unknown> },
): Promise<void> {
  const controller = new AbortController()
  const answer = await call({ resource, token }, { method: 'tools/call', params: slowCall }, controller.signal)
  const reader = answer.body?.getReader()
  await reader?.read()
  const ended = aborted().then(() => true)
  controller.abort()
  await reader?.read().catch(() => undefined)
  const patience = new Promise<false>((resolve) => setTimeout(resolve, PATIENCE, false).unref())
  timeline.check('a client that hangs up ends the call of the tool', await Promise.race([ended, patience]))
}

interface Called {
  readonly resource: string
  readonly token: string
}

const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
const slowCall = { name: 'slow', arguments: {}, _meta: { progressToken: 1 } }

const init = (token: string) => ({
  method: 'POST',
  headers: {
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'MCP-Protocol-Version': '2025-11-25',
    Origin: ORIGIN,
  },
})

const call = ({ resource, token }: Called, message: object, signal?: AbortSignal): Promise<Response> =>
  fetch(resource, {
    ...init(token),
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }),
    signal: AbortSignal.any([AbortSignal.timeout(PATIENCE), ...(signal === undefined ? [] : [signal])]),
  })

/** An MCP server whose tool tells of its progress, and then waits until it may go on or is ended. */
function slowServer() {
  let goOn: () => void = () => undefined
  let ended: () => void = () => undefined
  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'slow', version: '1.0.0' })
    server.registerTool('slow', { description: 'Waits' }, async ({ mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken ?? 1
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1 } })
      const released = new Promise<void>((resolve) => (goOn = resolve))
      await Promise.race([released, once(mcpReq.signal, 'abort').then(() => ended())])
      return { content: [{ type: 'text', text: 'done' }] }
    })
    return server
  })
  return {
    mcp,
    goOn: () => goOn(),
    aborted: () => new Promise<void>((resolve) => (ended = resolve)),
  }
}
