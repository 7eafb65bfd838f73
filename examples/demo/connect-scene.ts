import { connectNotesClient, type NotesClient } from './client.js'
import type { Scene } from './scenario.js'

/**
 * A server that exchanges no tokens: alice connects Nextcloud in her browser, while a tool call of hers waits.
 */
export async function connectOnce({ servers, timeline, browser, fetch }: Scene): Promise<NotesClient> {
  timeline.heading('A server without token exchange: alice connects Nextcloud once, while her tool call waits')
  const { mcpConnectUrl, notes, nextcloud, identityProvider } = servers
  const links: URL[] = []
  const pages: Promise<string>[] = []
  const client = await connectNotesClient({
    url: mcpConnectUrl,
    browser,
    fetch,
    openLink(link) {
      links.push(link)
      timeline.step('client → alice', `asks her to open ${link.origin}${link.pathname}`)
      pages.push(browser.visit(link))
    },
  })
  const who = await notes.authConnect.verify(client.oauth.accessToken())
  const connectedBefore = await notes.authConnect.isProvisioned(who)
  const exchangedBefore = identityProvider.exchanges()

  const text = await client.callTool('read_note', { id: 2 })
  timeline.step('tool → client', text)
  const html = (await Promise.all(pages)).join('\n')
  const title = /<h1[^>]*>([^<]*)/.exec(html)?.[1] ?? 'a page without a title'
  timeline.step('MCP server → alice', `“${title}”`)
  const [link] = links
  const received = nextcloud.received.at(-1)
  if (received?.claims !== undefined) timeline.claims('The Nextcloud token of the grant', received.claims)

  timeline.check(
    'without a grant: the refusal held a link to a page of this server, with a ticket',
    !connectedBefore &&
      links.length === 1 &&
      link !== undefined &&
      link.origin + link.pathname === new URL('/nextcloud/connect', mcpConnectUrl).href &&
      link.searchParams.has('ticket'),
  )
  timeline.check('the page said that Nextcloud is connected', title.startsWith('Connected'))
  timeline.check(
    'the tool was called once, and that call went on by itself when alice had connected',
    text.includes('alice wants to try') && (await notes.authConnect.isProvisioned(who)),
  )
  timeline.check(
    "Nextcloud got the access token of alice's grant, made for this server's own client, and nothing was exchanged",
    received?.status === 200 &&
      received.claims?.aud === 'nextcloud' &&
      received.claims.sub === who.subject &&
      received.claims['client_id'] === identityProvider.client.clientId &&
      identityProvider.exchanges() === exchangedBefore,
  )
  return client
}
