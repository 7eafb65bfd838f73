import { once } from 'node:events'
import type { Form, Measurement } from './figures.js'
import { openLoad } from './load.js'
import { startProgram, type Program } from './processes.js'

const NONE = 'bare'
const OURS = 'mcp-nextcloud-auth'
/** What any middleware costs that attaches what this one must. */
const LEAST = 'three properties'
const SDK = '@modelcontextprotocol/express + jose'
const NAMES = [NONE, LEAST, OURS, SDK]
const CONNECTIONS = 20
/** Requests before any is counted, because the engine goes on optimising what verifies for some thousand; and those that count. */
const QUICK = { warmUp: 2_000, repeated: 1_500, distinct: 500 }
const LONG = { warmUp: 4_000, repeated: 2_000, distinct: 1_000 }
/** Repeats of the long form for one that is asked for: what a process gets of caches and memory decides more than a middleware does. */
const MORE = 2

const BODY = JSON.stringify({
  ...{ jsonrpc: '2.0', id: 1, method: 'tools/call' },
  params: { name: 'add', arguments: { a: 1, b: 2 } },
})
/** The last chunk of a body (RFC 9112 §7.1). */
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n')

const requestWith = (token: string): Buffer =>
  Buffer.from(
    [
      ...['POST /mcp HTTP/1.1', 'Host: 127.0.0.1', `Authorization: Bearer ${token}`],
      ...['Content-Type: application/json', 'Accept: application/json, text/event-stream'],
      ...[`Content-Length: ${BODY.length}`, '', BODY],
    ].join('\r\n'),
  )

type Kind = 'repeated' | 'distinct'

/** Requests of one server: those before any is counted, and those that count. */
type Requests = Readonly<Record<Kind, readonly (readonly Buffer[])[]>>

interface McpMeasurement {
  readonly issuer: string
  readonly mint: (count: number) => Promise<string[]>
  readonly form: Form
}

/**
 * Calls the tool of an MCP server with and without a check of tokens, with one token and then with another one in each request. Each
 * server is alone while it is measured, and a new process each time. The time is that of its processor, in all its threads, so that
 * what others do on the machine does not count.
 */
export async function measureMcp({ issuer, mint, form: { quick, repeats } }: McpMeasurement): Promise<Measurement[]> {
  const [same = ''] = await mint(1)
  const counts = quick ? QUICK : LONG
  const rates = { repeated: noRates(), distinct: noRates() }
  for (let repeat = 0; repeat < (quick ? repeats : repeats * MORE); repeat += 1) {
    const requests: Requests = {
      repeated: [counts.warmUp, counts.repeated].map((count) => Array<Buffer>(count).fill(requestWith(same))),
      // Of ours, the verification has not run before these come.
      distinct: [(await mint(counts.warmUp)).map(requestWith), (await mint(counts.distinct)).map(requestWith)],
    }
    const first = repeat % NAMES.length
    for (const name of [...NAMES.slice(first), ...NAMES.slice(0, first)]) {
      for (const [kind, rate] of await measureServer(name, issuer, requests)) rates[kind].get(name)?.push(rate)
    }
  }
  return [...figuresOf('repeated', rates.repeated, { atLeast: 0.98 }), ...figuresOf('distinct', rates.distinct)]
}

/** Returns the requests per second of a server's processor. */
async function measureServer(name: string, issuer: string, requests: Requests): Promise<Map<Kind, number>> {
  const app = await startProgram('mcp-app.ts', [name, issuer])
  let waiting: readonly Buffer[] = []
  let sent = 0
  const nextRequest = (): Buffer => waiting[sent++] ?? Buffer.alloc(0)
  const load = openLoad({ port: Number(app.said), connections: CONNECTIONS, nextRequest, end: LAST_CHUNK })
  const rates = new Map<Kind, number>()
  try {
    for (const kind of ['repeated', 'distinct'] as const) {
      for (const part of requests[kind]) {
        waiting = part
        sent = 0
        const before = await processorTime(app)
        await load.run(part.length)
        // The last part is the one that counts.
        rates.set(kind, (part.length * 1e6) / ((await processorTime(app)) - before))
      }
    }
  } finally {
    load.close()
    app.stop()
  }
  return rates
}

async function processorTime(app: Program): Promise<number> {
  const said = once(app.process, 'message')
  app.process.send('time')
  const [us] = (await said) as [number]
  return us
}

const noRates = () => new Map<string, number[]>(NAMES.map((name) => [name, []]))

function figuresOf(
  kind: string,
  rates: ReadonlyMap<string, readonly number[]>,
  goal?: Measurement['goal'],
): Measurement[] {
  const over = (name: string, other: string): number[] =>
    (rates.get(name) ?? []).map((rate, repeat) => rate / (rates.get(other)?.[repeat] ?? NaN))
  const work = `MCP SDK v2 server with one tool, ${kind} token${kind === 'distinct' ? 's' : ''}, HTTP`
  return [
    {
      id: `mcp-${kind}-bare`,
      work: `${work}, no check of tokens`,
      figure: 'requests per second of its processor',
      values: [...(rates.get(NONE) ?? [])],
      places: 0,
    },
    {
      id: `mcp-${kind}`,
      work,
      figure: 'the same ÷ no check of tokens',
      values: over(OURS, NONE),
    },
    {
      id: `mcp-${kind}-least`,
      work: 'the same',
      figure: 'the same ÷ a middleware that does nothing but set three properties of `req`',
      values: over(OURS, LEAST),
      ...(goal && { goal }),
    },
    {
      id: `mcp-${kind}-sdk`,
      work: 'the same',
      figure: "the same ÷ the SDK's requireBearerAuth with jose",
      values: over(OURS, SDK),
    },
  ]
}
