import type { RequestListener } from 'node:http'
import { escapeHtml, page, POLICY } from './page.js'
import type { Servers } from './start-servers.js'

/** The servers of the demo, by what they are. */
export function placesOf({
  mcpUrl,
  mcpV1Url,
  mcpConnectUrl,
  identityProvider,
  nextcloud,
}: Pick<Servers, 'mcpUrl' | 'mcpV1Url' | 'mcpConnectUrl' | 'identityProvider' | 'nextcloud'>): Readonly<
  Record<string, string>
> {
  return {
    'MCP server': mcpUrl,
    'the same on SDK v1': mcpV1Url,
    'with connect pages': mcpConnectUrl,
    'OpenID provider': identityProvider.issuer,
    'Nextcloud stand-in': nextcloud.url,
  }
}

export const inspectorCommand = (mcpUrl: string): string =>
  `npx @modelcontextprotocol/inspector --transport http --server-url ${mcpUrl}`

/** Answers `/` with a page that says what runs where and how to try it, and leaves everything else to the app. */
export function withFrontPage(app: RequestListener, servers: Parameters<typeof placesOf>[0]): RequestListener {
  const html = page('The demo is running', contentOf(servers))
  return (req, res) => {
    if (req.url !== '/' || (req.method !== 'GET' && req.method !== 'HEAD')) {
      app(req, res)
      return
    }
    res.writeHead(200, {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': POLICY,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    })
    res.end(req.method === 'HEAD' ? undefined : html)
  }
}

function contentOf(servers: Parameters<typeof placesOf>[0]): string {
  const { mcpUrl, mcpConnectUrl } = servers
  const places = Object.entries(placesOf(servers)).map(
    ([what, url]) => `<dt>${escapeHtml(what)}</dt><dd><code>${escapeHtml(url)}</code></dd>`,
  )
  return `<p>An MCP server, an OpenID provider and a stand-in for Nextcloud, all in one process on this computer.</p>
<dl>${places.join('\n')}</dl>
<h2>Try it</h2>
<p>Sign in as alice or bob from the MCP Inspector (it needs Node 22.19 or later):</p>
<pre><code>${escapeHtml(inspectorCommand(mcpUrl))}</code></pre>
<h2>Connect Nextcloud in a browser</h2>
<p>Give the Inspector this server and call <code>list_notes</code>: you get a link. Open it, say yes, and sign in as the same person.</p>
<pre><code>${escapeHtml(inspectorCommand(mcpConnectUrl))}</code></pre>
<p>Ctrl-C in the terminal stops it. Everything is forgotten then.</p>`
}
