import { createLocalJWKSet, jwtVerify } from 'jose'
import { mcpAuth } from '../dist/index.js'
import type { Form, Measurement } from './figures.js'
import { createSigner, inProcess, ISSUER, RESOURCE, type Algorithm } from './tokens.js'

const CONCURRENCY = 50
/** Tokens that are verified before it is the other's turn. */
const TURN = 50
const ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const

/**
 * Runs `work` for each item, so many at a time; microseconds of processor time that it took, in all threads: what others do on the
 * machine meanwhile does not count.
 */
export async function timeOf<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<number> {
  let next = 0
  const before = process.cpuUsage()
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** The cost of verifying a token that was never seen, over `jose.jwtVerify` with the same checks and the keys at hand. */
export async function measureDistinctTokens(form: Form): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  for (const alg of ALGORITHMS) {
    measurements.push({
      id: `distinct-${alg}`,
      work: `distinct tokens, concurrency ${CONCURRENCY}, ${alg}`,
      figure: 'CPU time ÷ raw jose.jwtVerify',
      values: await ratios(alg, form),
      goal: { atMost: 1.1 },
    })
  }
  return measurements
}

async function ratios(alg: Algorithm, { quick, repeats }: Form): Promise<number[]> {
  const signer = await createSigner(ISSUER, alg)
  const count = quick ? 1_000 : 2_000
  const keys = createLocalJWKSet(signer.keys)
  const auth = mcpAuth(inProcess(signer.keys).options)
  await auth.ready()
  const raw = (token: string): Promise<unknown> => jwtVerify(token, keys, { issuer: ISSUER, audience: RESOURCE })
  const mint = async (): Promise<string[]> => {
    const tokens: string[] = []
    for (let number = 0; number < count; number += 1) tokens.push(await signer.mint())
    return tokens
  }
  /** In short turns, of which each comes first as often as the other. */
  const round = async (): Promise<number> => {
    const tokens = await mint()
    const times = { ours: 0, raw: 0 }
    for (let first = 0; first < count; first += TURN) {
      const turn = tokens.slice(first, first + TURN)
      const rawFirst = first % (2 * TURN) === 0
      if (rawFirst) times.raw += await timeOf(turn, raw)
      times.ours += await timeOf(turn, (token) => auth.verify(token))
      if (!rawFirst) times.raw += await timeOf(turn, raw)
    }
    return times.ours / times.raw
  }
  for (let warmUp = 0; warmUp < 3; warmUp += 1) await round()
  const values: number[] = []
  for (let repeat = 0; repeat < repeats; repeat += 1) values.push(await round())
  await auth.close()
  return values
}
