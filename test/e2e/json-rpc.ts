/** What a plain HTTP client sees of one JSON-RPC request: nothing here retries, signs in or hides a status. */
export interface RpcAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

/** Calls a tool as a 2025 client without a session does. */
export function callTool(
  url: string,
  token: string,
  name: string,
  args: Record<string, unknown> = {},
): Promise<RpcAnswer> {
  return post(url, token, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } })
}

export async function post(
  url: string,
  token: string | undefined,
  message: unknown,
  contentType = 'application/json',
): Promise<RpcAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      Accept: 'application/json, text/event-stream',
      'Content-Type': contentType,
      'MCP-Protocol-Version': '2025-11-25',
    },
    body: JSON.stringify(message),
  })
  const text = await response.text()
  // As an event stream, the one message is behind `data: `.
  const json = text.slice(text.indexOf('{'))
  return { status: response.status, headers: response.headers, body: json === '' ? undefined : JSON.parse(json) }
}

/** The text that a tool gave. */
export function toolText({ body }: RpcAnswer): string {
  const { result } = body as { result?: { content: { text: string }[] } }
  return result?.content.map(({ text }) => text).join('\n') ?? ''
}
