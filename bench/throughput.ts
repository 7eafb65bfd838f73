import autocannon from 'autocannon'
import type { Form, Measurement } from './figures.js'
import { startProgram, type Program } from './processes.js'

const PEERS = [
  'express-oauth2-jwt-bearer',
  'express-jwt + jwks-rsa',
  '@modelcontextprotocol/express + jose',
  'mcp-auth',
] as const
const OURS = 'mcp-nextcloud-auth'
const CONNECTIONS = 20

/**
 * Loads one Express app after the other, in turns, so that whatever else the machine does hits all alike. The same token is in
 * every request.
 */
export async function measureThroughput(issuer: string, token: string, form: Form): Promise<Measurement[]> {
  const names = ['bare', OURS, ...PEERS]
  const apps = new Map<string, Program>()
  const figures = new Map<string, number[]>(names.map((name) => [name, []]))
  try {
    for (const name of names) apps.set(name, await startProgram('app.ts', [name, issuer]))
    const load = (name: string, seconds: number): Promise<number> =>
      requestsPerSecond(name, apps.get(name), token, seconds)
    for (const name of names) await load(name, 1)
    for (let repeat = 0; repeat < form.repeats; repeat += 1) {
      // Each has each place in the order once in a while.
      const order = [...names.slice(repeat % names.length), ...names.slice(0, repeat % names.length)]
      for (const name of order) figures.get(name)?.push(await load(name, form.seconds))
    }
  } finally {
    for (const { stop } of apps.values()) stop()
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
    ...PEERS.map((peer) => ({
      id: `throughput-${peer}`,
      work: `the same with ${peer}`,
      figure: 'req/s ÷ bare Express',
      values: over(peer, of('bare')),
    })),
  ]
}

async function requestsPerSecond(
  name: string,
  app: Program | undefined,
  token: string,
  duration: number,
): Promise<number> {
  const result = await autocannon({
    url: `http://127.0.0.1:${String(app?.said)}/mcp`,
    connections: CONNECTIONS,
    duration,
    headers: { authorization: `Bearer ${token}` },
  })
  if (result.non2xx > 0 || result.errors > 0) {
    throw new Error(`${name}: ${result.non2xx} answers other than 2xx, ${result.errors} errors`)
  }
  return result.requests.average
}
