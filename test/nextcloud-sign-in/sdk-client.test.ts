import { Client, StreamableHTTPClientTransport, type OAuthClientProvider } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client as Client11 } from 'mcp-sdk-1.11/client/index.js'
import { StreamableHTTPClientTransport as Transport11 } from 'mcp-sdk-1.11/client/streamableHttp.js'
import { describe, expect, it } from 'vitest'
import { createOAuthClient } from '../../examples/demo/oauth-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

/** A client that is connected or not, as an app has it. */
interface AppClient {
  /** Rejects when a sign-in is needed, which has been walked by then. */
  readonly connect: () => Promise<void>
  readonly finishAuth: () => Promise<void>
  readonly callTool: (name: string) => Promise<string>
  readonly close: () => Promise<void>
}

const INFO = { name: 'test', version: '1' }

interface Transport {
  readonly finishAuth: (code: never) => Promise<void>
}

function appClient(
  transport: () => Transport,
  client: {
    connect: (transport: never) => Promise<void>
    callTool: (call: never) => Promise<unknown>
    close: () => Promise<void>
  },
  answer: () => unknown,
): AppClient {
  let last: Transport
  return {
    connect: () => client.connect((last = transport()) as never),
    finishAuth: () => last.finishAuth(answer() as never),
    callTool: async (name) => JSON.stringify(await client.callTool({ name, arguments: {} } as never)),
    close: () => client.close(),
  }
}

const SDKS = {
  'v2.4': (url: URL, provider: OAuthClientProvider, answer: () => URLSearchParams) =>
    appClient(() => new StreamableHTTPClientTransport(url, { authProvider: provider }), new Client(INFO), answer),
  'v1.32': (url: URL, provider: OAuthClientProvider, answer: () => URLSearchParams) =>
    appClient(
      () => new TransportV1(url, { authProvider: provider }),
      new ClientV1(INFO),
      () => answer().get('code'),
    ),
  // It sends no state.
  'v1.11': (url: URL, provider: OAuthClientProvider, _answer: () => URLSearchParams, last: () => URL | undefined) =>
    appClient(
      () => new Transport11(url, { authProvider: provider as never }),
      new Client11(INFO),
      () => last()?.searchParams.get('code'),
    ),
} as const

function openClient(sdk: keyof typeof SDKS, server: SignInServer, uid: string) {
  const person = server.person(uid)
  let walks = 0
  let last: URL | undefined
  const oauth = createOAuthClient({
    open: async (url, stopAt) => {
      walks += 1
      return (last = await person.until(url, stopAt))
    },
    visit: () => Promise.reject(new Error('A client opens one address')),
  })
  const open = () =>
    SDKS[sdk](
      new URL(server.url),
      oauth.provider,
      () => oauth.callback(),
      () => last,
    )
  return { oauth, open, walks: () => walks }
}

describe.each(Object.keys(SDKS) as (keyof typeof SDKS)[])(
  'an MCP client of the SDK %s that knows the URL alone',
  (sdk) => {
    it('registers itself, signs its user in at Nextcloud, acts there, refreshes, and signs in again after a disconnect', async () => {
      const server = await startSignInServer()
      const { oauth, open, walks } = openClient(sdk, server, 'alice')

      const first = open()
      await expect(first.connect()).rejects.toThrow()
      await first.finishAuth()
      const client = open()
      await client.connect()
      expect(await client.callTool('whoami')).toContain('alice')
      await client.close()

      // The access token is gone: the refresh token serves.
      const tokens = await oauth.provider.tokens()
      await oauth.provider.saveTokens({ ...tokens, access_token: 'ended', token_type: 'bearer' })
      const later = open()
      await later.connect()
      expect(await later.callTool('whoami')).toContain('alice')
      expect([walks(), oauth.accessToken() === 'ended']).toEqual([1, false])
      await later.close()

      // The user ends it in Nextcloud's settings: one more sign-in, and it goes on.
      server.nextcloud.state.tokens.splice(0)
      await oauth.provider.saveTokens({
        ...(await oauth.provider.tokens()),
        access_token: 'ended',
        token_type: 'bearer',
      })
      const again = open()
      await expect(again.connect()).rejects.toThrow()
      await again.finishAuth()
      const mended = open()
      await mended.connect()
      expect(await mended.callTool('whoami')).toContain('alice')
      expect(walks()).toBe(2)
      await mended.close()
    })
  },
)
