import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { startFront } from '../test/support/front.js'
import { ACCOUNT_PASSWORD } from '../test/support/nextcloud/state.js'
import { createVisitor } from '../test/support/nextcloud/visitor.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { clientOf, registeredClient, type TokenAnswer } from '../test/support/sign-in-client.js'
import { percentile, type Form, type Measurement } from './figures.js'
import { startProgram, type Program } from './processes.js'
import type { SignInApp } from './sign-in-app.js'

const PROCESSES = 2
/** Sign-ins in a minute, each with one refresh. */
const RATE = 500
/** Sign-ins before the measurement, by people of their own. */
const WARM_UP = 40
/** Each signs in once: who came back within seconds would act with a token that has just been replaced. */
const PEOPLE = Array.from({ length: WARM_UP + RATE }, (_, index) => `person-${index}`)

/** Milliseconds of requests to the token endpoint. */
interface Times {
  readonly code: number[]
  readonly refresh: number[]
}

/** The token endpoint of two processes of the sign-in server on Redis, over that of oidc-provider with its own memory. */
export async function measureSignIns({ quick }: Form): Promise<Measurement[]> {
  const redis = await startRedisServer()
  const front = await startFront()
  const programs: Program[] = []
  const start = async (...given: Parameters<typeof startProgram>): Promise<Program> => {
    const program = await startProgram(...given)
    programs.push(program)
    return program
  }
  try {
    const [clientId, clientSecret] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
    const { said: url } = await start('sign-in-nextcloud.ts', [
      ...[clientId, clientSecret, `${front.origin}/nextcloud/callback`, PEOPLE.join()],
    ])
    const app: SignInApp = {
      origin: front.origin,
      nextcloud: { url: String(url), clientId, clientSecret },
      store: { kind: 'Redis', url: redis.url },
      encryptionKey: randomBytes(32).toString('base64url'),
    }
    const apps = await Promise.all(
      Array.from({ length: PROCESSES }, () => start('sign-in-app.ts', [JSON.stringify(app)], ['--expose-gc'])),
    )
    const ports = apps.map(({ said }) => Number(said))
    front.ports.push(...ports)
    const { said: peer } = await start('sign-in-peer.ts', [])
    const sides = [
      await signingIn(
        front.origin,
        ports.map((port) => `http://127.0.0.1:${port}`),
      ),
      await signingIn(String(peer), [String(peer)]),
    ] as const
    for (const person of PEOPLE.slice(0, WARM_UP)) for (const { signIn } of sides) await signIn(person)

    const half = quick ? 5 : 30
    const perHalf = Math.round((RATE / 60) * half)
    const at = (first: number): readonly string[] => PEOPLE.slice(first, first + perHalf)
    const first = await atRate(sides, at(WARM_UP))
    const before = await heapOf(apps)
    const second = await atRate(sides, at(WARM_UP + perHalf))
    const growth = (await heapOf(apps)) / before
    return figures(both(first[0], second[0]), both(first[1], second[1]), growth)
  } finally {
    for (const program of programs) program.stop()
    front.close()
    await redis.stop()
  }
}

async function heapOf(apps: readonly Program[]): Promise<number> {
  const heaps = apps.map(async ({ process }) => {
    const answered = once(process, 'message')
    process.send('heap')
    const [bytes] = (await answered) as [number]
    return bytes
  })
  return (await Promise.all(heaps)).reduce((sum, bytes) => sum + bytes, 0)
}

const both = (one: Times, other: Times): Times => ({
  code: [...one.code, ...other.code],
  refresh: [...one.refresh, ...other.refresh],
})

interface Side {
  /** Returns the milliseconds of its two token requests. */
  readonly signIn: (person: string) => Promise<{ readonly code: number; readonly refresh: number }>
}

/** @param instances where token requests go, in turns */
async function signingIn(origin: string, instances: readonly string[]): Promise<Side> {
  const place = { origin, url: `${origin}/mcp` }
  const { clientId } = await registeredClient(place)
  let turns = 0
  const timed = async (work: (origin: string) => Promise<TokenAnswer>) => {
    turns += 1
    const start = performance.now()
    const answer = await work(instances[turns % instances.length] ?? '')
    if (answer.status !== 200)
      throw new Error(`The token endpoint answers ${answer.status}: ${String(answer.body['error_description'])}`)
    return { ms: performance.now() - start, refreshToken: String(answer.body['refresh_token']) }
  }
  return {
    async signIn(person) {
      const client = clientOf(place, clientId)
      const visitor = createVisitor({ name: person, password: ACCOUNT_PASSWORD })
      const back = await client.authorize(visitor, { scope: 'nextcloud' })
      const code = back.get('code')
      if (code === null) throw new Error(`The sign-in ends with ${back.get('error')}: ${back.get('error_description')}`)
      const first = await timed((at) => client.redeem(code, {}, at))
      const second = await timed((at) => client.refresh(first.refreshToken, {}, at))
      return { code: first.ms, refresh: second.ms }
    },
  }
}

/** Begins a sign-in at each side so often, whether those before have ended or not. */
async function atRate(sides: readonly [Side, Side], people: readonly string[]): Promise<readonly [Times, Times]> {
  const times = sides.map((): Times => ({ code: [], refresh: [] })) as [Times, Times]
  const start = performance.now()
  const walks: Promise<void>[] = []
  for (let turn = 0; turn < 2 * people.length; turn += 1) {
    await setTimeout(Math.max(0, start + (turn * 60_000) / RATE / 2 - performance.now()))
    const side = turn % 2 === 0 ? 0 : 1
    const walk = sides[side].signIn(people[Math.floor(turn / 2)] ?? '').then(({ code, refresh }) => {
      times[side].code.push(code)
      times[side].refresh.push(refresh)
    })
    walks.push(walk)
    // It is told at the end.
    walk.catch(() => undefined)
  }
  await Promise.all(walks)
  return times
}

function figures(ours: Times, theirs: Times, growth: number): Measurement[] {
  const all = ({ code, refresh }: Times): number[] => [...code, ...refresh]
  const over = (percent: number, of: (times: Times) => readonly number[]): number =>
    percentile(of(ours), percent) - percentile(of(theirs), percent)
  const work = `${RATE} sign-ins a minute, two processes on Redis: the token endpoint`
  return [
    {
      id: 'sign-in-p99',
      work,
      figure: 'ms over oidc-provider in memory, p99',
      values: [over(99, all)],
      goal: { atMost: 50 },
      absolute: true,
    },
    { id: 'sign-in-code', work: 'a code alone', figure: 'the same, p50', values: [over(50, ({ code }) => code)] },
    {
      id: 'sign-in-refresh',
      work: 'a refresh alone',
      figure: 'the same, p50',
      values: [over(50, ({ refresh }) => refresh)],
    },
    {
      id: 'sign-in-peer',
      work: 'oidc-provider in memory',
      figure: 'ms, p99',
      values: [percentile(all(theirs), 99)],
    },
    {
      id: 'sign-in-memory',
      work: 'heap of the two processes',
      figure: 'at the end ÷ after half of it',
      values: [growth],
      goal: { atMost: 1.05 },
    },
  ]
}
