import { once } from 'node:events'
import { parseArgs } from 'node:util'
import type { McpAuthEvent } from 'mcp-nextcloud-auth'
import { inspectorCommand, placesOf } from './front-page.js'
import { runScenario } from './scenario.js'
import { startServers, type Servers } from './start-servers.js'
import { createTimeline } from './timeline.js'

const { values: flags } = parseArgs({ options: { serve: { type: 'boolean', default: false } } })
const NEXT = `
Three things to try next:

  npm start -- --serve                         the same, still running, to click through with the MCP Inspector
  npx tsx examples/existing-app/check.ts       three lines in an app that you have
  npx mcp-nextcloud-auth doctor --help         checks a provider, a Nextcloud and a server of your own

`
const timeline = createTimeline(process.stdout)
const servers = await startServers({ onEvent: (event) => timeline.step('MCP server', describe(event)) })

timeline.heading('mcp-nextcloud-auth: everything below runs in this process, on loopback')
timeline.step('provider', servers.identityProvider.issuer)
timeline.step('Nextcloud stand-in', servers.nextcloud.url)
timeline.step('MCP server', `${servers.mcpUrl}, ${servers.mcpV1Url} and ${servers.mcpConnectUrl}`)
try {
  await runScenario(servers, timeline)
} catch (error) {
  timeline.check(`no step fails, but one did: ${error instanceof Error ? error.message : String(error)}`, false)
}
const allKept = timeline.summary()
process.stdout.write(`\n${counts(servers)}\n`)

if (flags.serve) await serveUntilStopped(servers)
else process.stdout.write(NEXT)
await servers.close()
process.exitCode = allKept ? 0 : 1

/** The MCP server's own account, as it would go to a log. */
function describe(event: McpAuthEvent): string {
  switch (event.type) {
    case 'token.accepted':
      return `accepts the token of ${event.subject}, ${event.cached ? 'which it knows' : 'verified just now'}`
    case 'token.rejected':
      return `rejects the request: ${event.message}`
    case 'nextcloud.token': {
      const byMode = event.mode === 'refresh-token' ? 'with the grant' : 'by an exchange'
      const source = { cache: 'from its cache', store: 'from its store', idp: byMode }[event.source]
      return `gets a Nextcloud token for ${event.subject} ${source}, ${event.durationMs.toFixed(1)} ms`
    }
    case 'nextcloud.failed':
      return `has no Nextcloud token: ${event.code}`
    case 'grant.stored':
      return `keeps the grant of ${event.subject}, sealed`
    default:
      return event.type
  }
}

function counts({ notes: { auth, authV1 }, identityProvider }: Servers): string {
  const [v2, v1] = [auth.stats(), authV1.stats()]
  const verified = `MCP tokens: ${v2.verified + v1.verified} verified, ${v2.verifiedCacheHits + v1.verifiedCacheHits} times known`
  const cached = v2.nextcloudCacheHits + v1.nextcloudCacheHits
  return `${verified}. Nextcloud tokens: ${identityProvider.exchanges()} exchanged, ${cached} times from the cache.`
}

async function serveUntilStopped(servers: Servers): Promise<void> {
  const { mcpUrl, mcpConnectUrl } = servers
  const places = Object.entries(placesOf(servers)).map(([what, url]) => `  ${what.padEnd(20)} ${url}`)
  process.stdout.write(`
Still running; stop with Ctrl-C. What runs where, as a page: ${new URL('/', mcpUrl).href}

${places.join('\n')}

Sign in as alice or bob from the MCP Inspector (it needs Node 22.19 or later):

  ${inspectorCommand(mcpUrl)}

To click through the connect pages, give it this one instead and call list_notes: you get a link. Open it, say yes, sign in
as the same person, and the notes are there; where the link came as text, call the tool once more.

  ${mcpConnectUrl}

`)
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
}
