import { Client, StreamableHTTPClientTransport, UnauthorizedError, type FetchLike } from '@modelcontextprotocol/client'
import { UnauthorizedError as UnauthorizedErrorV1 } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { z } from 'zod'
import { createBrowser, type Browser, type Press } from './browser.js'
import { createOAuthClient, type OAuthClient } from './oauth-client.js'

export interface NotesClient {
  readonly oauth: OAuthClient
  /** Calls a tool and gives its text; signs in, or asks the person for more scopes, when the server demands it. */
  callTool(name: string, args?: Record<string, unknown>): Promise<string>
  close(): Promise<void>
}

export interface NotesClientOptions {
  readonly url: string
  /** A browser in which a user is signed in, or is about to sign in. */
  readonly browser: Browser
  readonly fetch?: FetchLike
}

const toolResult = z.object({
  content: z.array(z.object({ type: z.literal('text'), text: z.string() })),
  isError: z.boolean().default(false),
})

const info = { name: 'demo-client', version: '1.0.0' }

/** A browser in which this user signs in and agrees to each question. */
export function browserOf(person: string, onPress?: (press: Press, origin: string) => void): Browser {
  const presses: Press[] = [
    ['user', person],
    ['decision', 'allow'],
    ['answer', 'yes'],
  ]
  return createBrowser(presses, onPress)
}

/**
 * An MCP client on SDK v2 that signs in when it must.
 *
 * The SDK does the OAuth: on a 401 it reads the challenge, finds the authorization server (RFC 9728, RFC 8414), registers
 * (RFC 7591) and sends the browser there; on a 403 for scope it does so again with more scopes. What is left to the
 * client is to hand back the code and repeat what was refused.
 *
 * @param options.protocol the revision to speak; default 2026-07-28, with a fallback to 2025
 * @param options.openLink opens a link that the server asks the person to open (URL elicitation); without it, the client
 *   says that it cannot do that
 */
export async function connectNotesClient({
  url,
  browser,
  fetch,
  protocol = 'auto',
  openLink,
}: NotesClientOptions & {
  readonly protocol?: 'auto' | 'legacy'
  readonly openLink?: (link: URL) => void
}): Promise<NotesClient> {
  const oauth = createOAuthClient(browser)
  const client = new Client(info, {
    versionNegotiation: { mode: protocol },
    capabilities: openLink === undefined ? {} : { elicitation: { url: {} } },
  })
  if (openLink !== undefined) {
    client.setRequestHandler('elicitation/create', ({ params }) => {
      if (params.mode !== 'url') return { action: 'decline' }
      openLink(new URL(params.url))
      return { action: 'accept' }
    })
  }
  const newTransport = () =>
    new StreamableHTTPClientTransport(new URL(url), { authProvider: oauth.provider, ...(fetch && { fetch }) })

  let transport = newTransport()
  try {
    await client.connect(transport)
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error
    await transport.finishAuth(oauth.callback())
    transport = newTransport()
    await client.connect(transport)
  }

  return {
    oauth,
    async callTool(name, args = {}) {
      const call = () => client.callTool({ name, arguments: args })
      try {
        return textOf(await call())
      } catch (error) {
        if (!(error instanceof UnauthorizedError)) throw error
        await transport.finishAuth(oauth.callback())
        return textOf(await call())
      }
    },
    close: () => client.close(),
  }
}

/** The same on SDK v1, which speaks the 2025 revisions of the protocol. */
export async function connectNotesClientV1({ url, browser, fetch }: NotesClientOptions): Promise<NotesClient> {
  const oauth = createOAuthClient(browser)
  const client = new ClientV1(info)
  const newTransport = () =>
    new StreamableHTTPClientTransportV1(new URL(url), { authProvider: oauth.provider, ...(fetch && { fetch }) })

  let transport = newTransport()
  try {
    await client.connect(transport)
  } catch (error) {
    if (!(error instanceof UnauthorizedErrorV1)) throw error
    await transport.finishAuth(code(oauth))
    transport = newTransport()
    await client.connect(transport)
  }

  return {
    oauth,
    async callTool(name, args = {}) {
      const call = () => client.callTool({ name, arguments: args })
      try {
        return textOf(await call())
      } catch (error) {
        if (!(error instanceof UnauthorizedErrorV1)) throw error
        await transport.finishAuth(code(oauth))
        return textOf(await call())
      }
    },
    close: () => client.close(),
  }
}

function code(oauth: OAuthClient): string {
  return oauth.callback().get('code') ?? ''
}

function textOf(result: unknown): string {
  const { isError, content } = toolResult.parse(result)
  const text = content.map((block) => block.text).join('\n')
  if (isError) throw new Error(`The tool failed: ${text}`)
  return text
}
