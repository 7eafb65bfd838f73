import { fork } from 'node:child_process'
import { once } from 'node:events'
import autocannon from 'autocannon'

/** Requests per second of one variant, repeat by repeat. */
export type Throughput = Record<'bare' | 'protected', number[]>

/**
 * Loads an Express app with and without the middleware, in turns, so that whatever else the machine does hits both alike. The
 * same token is in every request of both.
 */
export async function measureThroughput(
  issuer: string,
  token: string,
  repeats: number,
  seconds: number,
): Promise<Throughput> {
  const servers = { bare: await startServer('bare', issuer), protected: await startServer('protected', issuer) }
  const figures: Throughput = { bare: [], protected: [] }
  const load = async (variant: keyof Throughput, duration: number): Promise<number> => {
    const result = await autocannon({
      url: `http://127.0.0.1:${servers[variant].port}/mcp`,
      connections: 20,
      duration,
      headers: { authorization: `Bearer ${token}` },
    })
    if (result.non2xx > 0 || result.errors > 0) {
      throw new Error(`${variant}: ${result.non2xx} answers other than 2xx, ${result.errors} errors`)
    }
    return result.requests.average
  }
  try {
    for (const variant of ['bare', 'protected'] as const) await load(variant, 1)
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      const order = repeat % 2 === 0 ? (['bare', 'protected'] as const) : (['protected', 'bare'] as const)
      for (const variant of order) figures[variant].push(await load(variant, seconds))
    }
  } finally {
    for (const { stop } of Object.values(servers)) stop()
  }
  return figures
}

async function startServer(variant: string, issuer: string): Promise<{ port: number; stop: () => void }> {
  const child = fork(new URL('server.ts', import.meta.url), [variant, issuer], { execArgv: ['--import', 'tsx'] })
  const [port] = (await once(child, 'message')) as [number]
  return { port, stop: () => child.disconnect() }
}
