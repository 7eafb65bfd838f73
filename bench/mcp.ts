import { once } from 'node:events'
import type { Form, Measurement } from './figures.js'
import { openLoad, type Load } from './load.js'
import { startProgram, type Program } from './processes.js'

const NONE = 'bare'
const OURS = 'mcp-nextcloud-auth'
/** What any middleware costs that attaches what this one must. */
const LEAST = 'three properties'
const SDK = '@modelcontextprotocol/express + jose'
const NAMES = [NONE, LEAST, OURS, SDK]
const CONNECTIONS = 20
/** Requests that an app gets before it is the next one's turn. */
const TURN = 100
/** Turns of an app before any is counted: the engine goes on optimising what verifies for some thousand requests. */
const WARM_UP = { quick: 20, long: 60 }
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

/** An MCP server, and the load on it. */
interface Served {
  readonly app: Program
  readonly load: Load
  /** Sent one after the other, and then from the first again. */
  requests: readonly Buffer[]
}

async function serve(name: string, issuer: string): Promise<Served> {
  const app = await startProgram('mcp-app.ts', [name, issuer])
  let sent = 0
  const nextRequest = (): Buffer => served.requests[sent++ % served.requests.length] ?? Buffer.alloc(0)
  const load = openLoad({ port: Number(app.said), connections: CONNECTIONS, nextRequest, end: LAST_CHUNK })
  const served: Served = { app, load, requests: [] }
  return served
}

interface McpMeasurement {
  readonly issuer: string
  readonly mint: (count: number) => Promise<string[]>
  readonly form: Form
}

/**
 * Calls the tool of an MCP server with and without a check of tokens, in short turns, with one token and with another one in each request.
 * Each repeat has processes of its own. The time is that of the server's processor, in all its threads, so that what others do on the
 * machine does not count.
 */
export async function measureMcp({ issuer, mint, form: { quick, repeats } }: McpMeasurement): Promise<Measurement[]> {
  const [same = ''] = await mint(1)
  const rates = { repeated: noRates(), distinct: noRates() }
  const warmUp = quick ? WARM_UP.quick : WARM_UP.long
  for (let repeat = 0; repeat < (quick ? 1 : repeats * MORE); repeat += 1) {
    const servers = new Map<string, Served>()
    const measure = async (
      kind: keyof typeof rates,
      turns: number,
      tokens: (count: number) => Promise<string[]>,
    ): Promise<void> => {
      // Of ours, the verification has not run before the distinct tokens come.
      for (const played of [warmUp, turns]) {
        const requests = (await tokens(played * TURN)).map(requestWith)
        for (const served of servers.values()) served.requests = requests
        const times = await round(servers, played)
        if (played === turns) for (const [name, us] of times) rates[kind].get(name)?.push((turns * TURN * 1e6) / us)
      }
    }
    try {
      for (const name of NAMES) servers.set(name, await serve(name, issuer))
      await measure('repeated', quick ? 8 : 15, () => Promise.resolve([same]))
      await measure('distinct', quick ? 4 : 10, mint)
    } finally {
      for (const { app, load } of servers.values()) {
        load.close()
        app.stop()
      }
    }
  }
  return [...figuresOf('repeated', rates.repeated, { atLeast: 0.98 }), ...figuresOf('distinct', rates.distinct)]
}

const noRates = () => new Map<string, number[]>(NAMES.map((name) => [name, []]))

/** Returns the microseconds of each server. Each has each place in the order once in a while. */
async function round(servers: ReadonlyMap<string, Served>, turns: number): Promise<Map<string, number>> {
  const times = new Map<string, number>()
  for (let turn = 0; turn < turns; turn += 1) {
    const first = turn % NAMES.length
    for (const name of [...NAMES.slice(first), ...NAMES.slice(0, first)]) {
      const served = servers.get(name)
      if (served === undefined) continue
      const before = await processorTime(served)
      await served.load.run(TURN)
      times.set(name, (times.get(name) ?? 0) + (await processorTime(served)) - before)
    }
  }
  return times
}

async function processorTime({ app }: Served): Promise<number> {
  const said = once(app.process, 'message')
  app.process.send('time')
  const [us] = (await said) as [number]
  return us
}

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
      ...(goal && { goal }),
    },
    {
      id: `mcp-${kind}-least`,
      work: 'the same',
      figure: 'the same ÷ a middleware that does nothing but set three properties of `req`',
      values: over(OURS, LEAST),
    },
    {
      id: `mcp-${kind}-sdk`,
      work: 'the same',
      figure: "the same ÷ the SDK's requireBearerAuth with jose",
      values: over(OURS, SDK),
    },
  ]
}
