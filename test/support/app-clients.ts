import { Client, StreamableHTTPClientTransport, type OAuthClientProvider } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client as Client11 } from 'mcp-sdk-1.11/client/index.js'
import { StreamableHTTPClientTransport as Transport11 } from 'mcp-sdk-1.11/client/streamableHttp.js'
import { expect } from 'vitest'

/** A client that is connected or not, as an app has it. */
export interface AppClient {
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

/**
 * Apps on each SDK that is in use.
 *
 * Their `answer` is the checked answer of the sign-in, and `last` the address at which the browser ended.
 */
export const SDKS = {
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

export type Sdk = keyof typeof SDKS

export const SDK_NAMES = Object.keys(SDKS) as readonly Sdk[]

/** The SDKs sign in while they connect, and connect once more with the tokens. */
export async function signIn(open: () => AppClient): Promise<AppClient> {
  const first = open()
  await expect(first.connect()).rejects.toThrow()
  await first.finishAuth()
  const client = open()
  await client.connect()
  return client
}
