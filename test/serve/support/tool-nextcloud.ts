import { runTool, TOOLS } from '../../../src/serve/tools/tools.js'
import type { NextcloudOfTool } from '../../../src/serve/tools/tool.js'

export type Answer = {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string | ReadableStream
}

/** A Nextcloud that gives these answers in turn, and the requests that it got. */
export function nextcloud(...answers: readonly Answer[]) {
  const requests: {
    readonly method: string
    readonly path: string
    readonly headers: Headers
    readonly body: string
  }[] = []
  const left = [...answers]
  const fetch: NextcloudOfTool['fetch'] = (path, init) => {
    const {
      method = 'GET',
      headers = {},
      body = '',
    } = (init ?? {}) as { method?: string; headers?: Record<string, string>; body?: string }
    requests.push({ method, path: path as string, headers: new Headers(headers), body })
    const { status = 200, headers: told = {}, body: text = '' } = left.shift() ?? { status: 599 }
    return Promise.resolve(new Response(status === 204 ? null : text, { status, headers: told }))
  }
  const user = () => Promise.resolve({ id: 'anna b' }) as ReturnType<NextcloudOfTool['user']>
  const call = async (name: string, args: Record<string, unknown> = {}) => {
    const tool = TOOLS.find((each) => each.name === name)
    if (tool === undefined) throw new Error(`There is no tool ${name}`)
    return tool.run({ fetch, user }, tool.input.parse(args))
  }
  /** The same as an MCP client gets it, and the defects that were reported. */
  const callByClient = async (name: string, args: Record<string, unknown>) => {
    const tool = TOOLS.find((each) => each.name === name)
    if (tool === undefined) throw new Error(`There is no tool ${name}`)
    const defects: string[] = []
    const { content, isError } = await runTool(tool, { fetch, user }, args, (_, error) => void defects.push(error))
    return { text: content[0]?.text, isError, defects }
  }
  return { requests, call, callByClient }
}

export const JSON_TYPE = { 'content-type': 'application/json' }

export function multistatus(...entries: readonly [href: string, properties: string][]): Answer {
  const responses = entries.map(
    ([href, properties]) =>
      `<d:response><d:href>${href}</d:href><d:propstat><d:prop>${properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`,
  )
  return {
    status: 207,
    body: `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">${responses.join('')}</d:multistatus>`,
  }
}

export const FOLDER = '<d:resourcetype><d:collection/></d:resourcetype>'
export const FILE = '<d:resourcetype/><d:getcontentlength>5</d:getcontentlength><d:getetag>&quot;e&quot;</d:getetag>'
