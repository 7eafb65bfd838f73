import type { Form, Measurement } from './figures.js'
import { openLoad, type Load } from './load.js'
import { startProgram, type Program } from './processes.js'

const PEERS = [
  'express-oauth2-jwt-bearer',
  'express-jwt + jwks-rsa',
  '@modelcontextprotocol/express + jose',
  'mcp-auth',
] as const
const OURS = 'mcp-nextcloud-auth'
const FLOOR = 'three properties'
const CONNECTIONS = 20
/** Requests that an app gets before it is the next one's turn. */
const TURN = 200

/**
 * Loads one Express app after the other, in short turns, so that other work of the machine hits all alike. The same token is in
 * every request.
 */
export async function measureThroughput(issuer: string, token: string, form: Form): Promise<Measurement[]> {
  const names = ['bare', FLOOR, OURS, ...PEERS]
  const apps: Program[] = []
  const loads = new Map<string, Load>()
  const figures = new Map<string, number[]>(names.map((name) => [name, []]))
  const turns = form.quick ? 8 : 100
  const request = Buffer.from(`GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  try {
    for (const name of names) {
      const app = await startProgram('app.ts', [name, issuer])
      apps.push(app)
      loads.set(name, openLoad({ port: Number(app.said), connections: CONNECTIONS, nextRequest: () => request }))
    }
    // The engine has optimised the program after some thousands of requests.
    for (const load of loads.values()) await load.run(form.quick ? 3_000 : 20_000)
    for (let repeat = 0; repeat < form.repeats; repeat += 1) {
      const times = new Map<string, number>(names.map((name) => [name, 0]))
      for (let turn = 0; turn < turns; turn += 1) {
        // Each has each place in the order once in a while.
        for (const name of [...names.slice(turn % names.length), ...names.slice(0, turn % names.length)]) {
          times.set(name, (times.get(name) ?? 0) + ((await loads.get(name)?.run(TURN)) ?? NaN))
        }
      }
      for (const [name, ms] of times) figures.get(name)?.push((turns * TURN * 1_000) / ms)
    }
  } finally {
    for (const load of loads.values()) load.close()
    for (const app of apps) app.stop()
  }
  const of = (name: string): number[] => figures.get(name) ?? []
  const over = (name: string, other: readonly number[]): number[] =>
    of(name).map((value, repeat) => value / (other[repeat] ?? NaN))
  const best = of(OURS).map((_, repeat) => Math.max(...PEERS.map((peer) => of(peer)[repeat] ?? NaN)))
  const work = 'Express 5 app, repeated token, HTTP'
  return [
    { id: 'throughput-bare', work: 'bare Express 5 app, HTTP', figure: 'req/s', values: of('bare'), places: 0 },
    { id: 'throughput', work, figure: 'req/s ÷ bare Express', values: over(OURS, of('bare')), goal: { atLeast: 0.97 } },
    {
      id: 'throughput-peer',
      work: 'the same',
      figure: 'req/s ÷ best peer',
      values: over(OURS, best),
      goal: { atLeast: 1.6 },
    },
    {
      id: 'throughput-floor',
      work: 'a middleware that only sets three properties of req',
      figure: 'req/s ÷ bare Express',
      values: over(FLOOR, of('bare')),
    },
    ...PEERS.map((peer) => ({
      id: `throughput-${peer}`,
      work: `the same with ${peer}`,
      figure: 'req/s ÷ bare Express',
      values: over(peer, of('bare')),
    })),
  ]
}
