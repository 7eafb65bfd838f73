import { claudeCode, inspector, type AppSteps } from './app-steps.js'
import { isLoopback } from '../config/values.js'
import { writeDocument, type Page } from '../connect/pages/document.js'
import { markup, shownHost, type Markup } from '../connect/pages/markup.js'
import { english } from '../connect/pages/texts/en.js'

/** Path of the page of connections, which is beside the redirect URI. */
const OVERVIEW = '/nextcloud'

/** Returns the page that says what to paste where. */
export function landingPage(resource: string, nextcloud: URL): Page {
  const address = new URL(resource)
  const { protocol, host } = address
  // Nothing but a browser of this machine gets to an address on loopback.
  const isPublic = protocol === 'https:' && !isLoopback(address)
  const url = markup`<code>${resource}</code>`
  const content = markup`
<p>Apps such as Claude can work with the files, notes and calendars of ${shownHost(nextcloud.host)} through this server. Give your app this address:</p>
<p>${url}</p>
<p>The app opens a page of this server in your browser. Say yes there, sign in to Nextcloud, and press “Grant access”. There is no password or key to copy.</p>
${isPublic ? undefined : markup`<div class="note"><p>${notPublic(protocol)}</p></div>`}
${section('Claude (web, desktop and phone)', markup`<p>Customize, Connectors, the plus sign, Add custom connector. Paste the address, leave the advanced settings empty, press Add, and then Connect. In a Team or Enterprise plan, an owner adds it for all first. The app on the phone has what you have added elsewhere.</p>`)}
${section('Claude Code', steps(claudeCode(resource)))}
${section('ChatGPT (in a browser)', markup`<p>Settings, Security and login: switch developer mode on. Then open <code>chatgpt.com/plugins</code> and press the plus sign. Paste the address as the MCP server URL, choose OAuth, create it, and install it from your own plugins.</p>`)}
${section('VS Code', markup`<p>In the command palette, choose “MCP: Add Server”, then HTTP, and paste the address. The same in the file <code>.vscode/mcp.json</code> of a folder, where Start stands above the entry:</p>${block(JSON.stringify({ servers: { nextcloud: { type: 'http', url: resource } } }, null, 2))}`)}
${section('MCP Inspector', steps(inspector(resource)))}
<section><h2>Why some apps need a public address</h2>
<p>Claude on the web, on the desktop and on the phone, and ChatGPT call this server from the machines of their makers. They need a public name with https. Claude Code, VS Code and the MCP Inspector call it from your own computer, so any address that this computer reaches will do.</p></section>
<section><h2>How to end it</h2>
<p><a href="${OVERVIEW}">Your connection</a> shows the apps that may use your Nextcloud, and ends one or all. In Nextcloud, your personal settings list the sign-in under Security, Devices &amp; sessions: what you revoke there ends at once.</p></section>`
  const title = 'Connect your app to your Nextcloud'
  return { status: 200, html: writeDocument(english, { title, tone: 'plain', server: shownHost(host), content }) }
}

const notPublic = (protocol: string): string =>
  protocol === 'https:'
    ? 'This address is one of this machine alone. Claude Code, VS Code and the MCP Inspector on this machine can use it. Claude on the web and ChatGPT cannot.'
    : 'This address has no https. Claude Code, VS Code and the MCP Inspector can use it from where it can be reached. Claude on the web and ChatGPT cannot.'

const section = (title: string, content: Markup): Markup => markup`<section><h2>${title}</h2>${content}</section>`

const steps = ({ lines, then }: AppSteps): Markup => markup`${block(lines.join('\n'))}<p>${then}</p>`

const block = (text: string): Markup => markup`<pre><code>${text}</code></pre>`
