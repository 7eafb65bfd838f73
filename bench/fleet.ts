import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { startRedisServer } from '../test/support/redis-server.js'
import type { StoreAddress } from '../test/support/stores.js'
import type { Form, Measurement } from './figures.js'
import type { FleetApp } from './fleet-app.js'
import { startProgram, type Program } from './processes.js'

const USERS = 2_000
const USERS_QUICK = 200
const SIZES = [1, 2, 4, 8]

/** The token requests of a fleet whose every instance serves every user within one life of a token, without and with a store. */
export async function measureFleet({ quick }: Form): Promise<Measurement[]> {
  const users = quick ? USERS_QUICK : USERS
  const redis = await startRedisServer()
  const measurements: Measurement[] = []
  try {
    for (const size of quick ? [4] : SIZES) {
      const alone = await requestsOf(size, users)
      const together = await requestsOf(size, users, { kind: 'Redis', url: redis.url })
      const work = `${users.toLocaleString('en-US')} users of ${size} ${size === 1 ? 'process' : 'processes'}, each of whom meets all of them`
      measurements.push(
        { id: `fleet-alone-${size}`, work, figure: 'token requests ÷ least possible', values: [alone / users] },
        {
          id: `fleet-${size}`,
          work: 'the same on one Redis',
          figure: 'token requests ÷ least possible',
          values: [together / users],
          goal: { atMost: 1.15 },
          places: 3,
        },
      )
    }
  } finally {
    await redis.stop()
  }
  return measurements
}

async function requestsOf(size: number, users: number, store?: StoreAddress): Promise<number> {
  const as = await startProgram('authorization-server.ts', [])
  const apps: Program[] = []
  try {
    const { tokens } = await answerOf<{ tokens: string[] }>(as, { mint: users })
    const app: FleetApp = {
      issuer: String(as.said),
      encryptionKey: randomBytes(32).toString('base64url'),
      ...(store && { store }),
    }
    for (let started = 0; started < size; started += 1)
      apps.push(await startProgram('fleet-app.ts', [JSON.stringify(app)]))
    await Promise.all(apps.map((program) => answerOf(program, tokens)))
    return (await answerOf<{ issued: number }>(as, 'count')).issued
  } finally {
    for (const program of [...apps, as]) program.stop()
  }
}

async function answerOf<T>({ process: child }: Program, order: unknown): Promise<T> {
  const answered = once(child, 'message')
  child.send(order as object)
  const [answer] = (await answered) as [T]
  return answer
}
