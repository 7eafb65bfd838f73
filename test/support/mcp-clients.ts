import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { onTestFinished } from 'vitest'
import { z } from 'zod'

/** What the person at a client does when it shows a question. */
export type Answer = (params: Record<string, unknown>, signal: AbortSignal) => Promise<'accept' | 'decline' | 'cancel'>

export interface McpClientOptions {
  readonly url: string
  readonly token: string
  /** What the client declares as its `elicitation` capability. Default: URLs. */
  readonly elicitation?: Partial<Record<'url' | 'form', Record<string, never>>> | undefined
  readonly answer?: Answer
}

export interface McpClient {
  /** Calls a tool, as the model does: its text, and whether that is an error. */
  readonly callTool: (
    name: string,
    args?: Record<string, unknown>,
    signal?: AbortSignal,
  ) => Promise<{ text: string; isError: boolean }>
  /** The names of the tools that it is shown, by all pages. */
  readonly listTools: () => Promise<string[]>
  /** Calls with another token from here on. */
  readonly renew: (token: string) => void
  /** What the person was asked. */
  readonly questions: Record<string, unknown>[]
  /** Where it calls, and with which token. */
  readonly url: string
  readonly token: string
  /** Messages that went out and came in, as they were on the wire. */
  readonly sent: string[]
  readonly received: () => string
}

const info = { name: 'client', version: '1.0.0' }
const toolResult = z.object({
  content: z.array(z.object({ type: z.literal('text'), text: z.string() })),
  isError: z.boolean().default(false),
})

function textOf(result: unknown): { text: string; isError: boolean } {
  const { content, isError } = toolResult.parse(result)
  return { text: content.map((block) => block.text).join('\n'), isError }
}

interface ToolPage {
  readonly tools: readonly { readonly name: string }[]
  readonly nextCursor?: string | undefined
}

/** The names of all pages. The client of SDK v2 follows cursors by itself, and then there is one. */
async function toolsOf(page: (at: { cursor?: string }) => Promise<ToolPage>): Promise<string[]> {
  const names: string[] = []
  let cursor: string | undefined
  do {
    const { tools, nextCursor }: ToolPage = await page(cursor === undefined ? {} : { cursor })
    names.push(...tools.map(({ name }) => name))
    cursor = nextCursor
  } while (cursor !== undefined)
  return names
}

/** Fetch that keeps what passes through it. */
function recordingFetch() {
  const sent: string[] = []
  let received = ''
  const record: typeof fetch = async (input, init) => {
    if (typeof init?.body === 'string') sent.push(init.body)
    const response = await fetch(input, init)
    if (response.body === null) return response
    const decoder = new TextDecoder()
    const body = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          received += decoder.decode(chunk, { stream: true })
          controller.enqueue(chunk)
        },
      }),
    )
    return new Response(body, response)
  }
  return { fetch: record, sent, received: () => received }
}

/** What both SDKs need of the options, and what a client shows. */
function prepare({ url, token, answer, ...options }: McpClientOptions) {
  const { fetch: recordFetch, ...recorded } = recordingFetch()
  const elicitation = 'elicitation' in options ? options.elicitation : { url: {} }
  const questions: Record<string, unknown>[] = []
  const headers = { Authorization: `Bearer ${token}` }
  return {
    capabilities: elicitation === undefined ? {} : { elicitation },
    endpoint: new URL(url),
    transport: { fetch: recordFetch, requestInit: { headers } },
    ask:
      answer &&
      (async (params: object, signal: AbortSignal) => {
        questions.push({ ...params })
        return { action: await answer({ ...params }, signal) }
      }),
    shown: {
      ...recorded,
      url,
      token,
      questions,
      renew: (renewed: string) => void (headers.Authorization = `Bearer ${renewed}`),
    },
  }
}

async function connectV1(options: McpClientOptions): Promise<McpClient> {
  const { capabilities, endpoint, transport, ask, shown } = prepare(options)
  const client = new ClientV1(info, { capabilities })
  if (ask !== undefined) {
    client.setRequestHandler(ElicitRequestSchema, ({ params }, { signal }) => ask(params, signal))
  }
  await client.connect(new StreamableHTTPClientTransportV1(endpoint, transport))
  onTestFinished(() => client.close())
  return {
    ...shown,
    listTools: () => toolsOf((cursor) => client.listTools(cursor)),
    callTool: async (name, args = {}, signal) =>
      textOf(await client.callTool({ name, arguments: args }, undefined, signal && { signal })),
  }
}

async function connectV2(options: McpClientOptions, mode: 'auto' | 'legacy'): Promise<McpClient> {
  const { capabilities, endpoint, transport, ask, shown } = prepare(options)
  const client = new Client(info, { capabilities, versionNegotiation: { mode } })
  if (ask !== undefined) {
    client.setRequestHandler('elicitation/create', ({ params }, { mcpReq }) => ask(params, mcpReq.signal))
  }
  await client.connect(new StreamableHTTPClientTransport(endpoint, transport))
  onTestFinished(() => client.close())
  return {
    ...shown,
    listTools: () => toolsOf((cursor) => client.listTools(cursor)),
    callTool: async (name, args = {}, signal) =>
      textOf(await client.callTool({ name, arguments: args }, signal && { signal })),
  }
}

/** The clients of the two SDKs, by the revision that they speak. */
export const mcpClients = {
  'SDK v1, 2025-11-25': connectV1,
  'SDK v2, 2025-11-25': (options: McpClientOptions) => connectV2(options, 'legacy'),
  'SDK v2, 2026-07-28': (options: McpClientOptions) => connectV2(options, 'auto'),
} as const

export type McpClientKind = keyof typeof mcpClients
