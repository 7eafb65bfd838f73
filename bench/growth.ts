import { mcpAuth } from '../dist/index.js'
import { timeOf } from './distinct-tokens.js'
import type { Form, Measurement } from './figures.js'
import { callMiddleware, costOfCall } from './middleware.js'
import { createSigner, inProcess, ISSUER, type Signer } from './tokens.js'

const USERS = [1, 10, 100, 1_000, 10_000]
const KIBIBYTES = [0.5, 2, 8]
const KEYS = [1, 5, 20]

/** How the cost grows with the users, the length of a token and the keys of the issuer. */
export async function measureGrowth(form: Form): Promise<Measurement[]> {
  return [...(await growthWithUsers(form)), ...(await growthWithLength(form)), ...(await growthWithKeys(form))]
}

async function growthWithUsers({ quick, repeats }: Form): Promise<Measurement[]> {
  // So many that each slice of them has every user's turn.
  const calls = quick ? 100_000 : 200_000
  const signer = await createSigner(ISSUER, 'ES256')
  const tokens = await mintForUsers(signer, USERS.at(-1) ?? 0)
  const series = await Promise.all(
    USERS.map(async (users) => {
      const auth = mcpAuth(inProcess(signer.keys).options)
      const theirs = tokens.slice(0, users)
      await timeOf(theirs, (token) => auth.verify(token))
      callMiddleware(auth, theirs, calls)
      return { name: `${users.toLocaleString('en-US')} cached users`, measure: () => costOfCall(auth, theirs, calls) }
    }),
  )
  const costs = await inTurns(series, repeats)
  // Known to miss its goal (the processor's caches); the short form fails only above four times the goal.
  return growth('users', 'CPU µs per call', costs, 1.3, 3)
}

async function mintForUsers(signer: Signer, count: number): Promise<string[]> {
  const tokens: string[] = []
  for (let user = 0; user < count; user += 1) tokens.push(await signer.mint({ sub: `user-${user}` }))
  return tokens
}

async function growthWithLength({ quick, repeats }: Form): Promise<Measurement[]> {
  const calls = quick ? 100_000 : 200_000
  const signer = await createSigner(ISSUER, 'ES256')
  const auth = mcpAuth(inProcess(signer.keys).options)
  const series = await Promise.all(
    KIBIBYTES.map(async (kibibytes) => {
      const plain = (await signer.mint()).length
      // Base64 makes four characters of three.
      const token = await signer.mint({}, Math.max(0, Math.round(((kibibytes * 1_024 - plain) * 3) / 4)))
      await auth.verify(token)
      callMiddleware(auth, [token], calls)
      return { name: `a token of ${kibibytes} KiB`, measure: () => costOfCall(auth, [token], calls) }
    }),
  )
  const costs = await inTurns(series, repeats)
  return growth('length', 'CPU µs per call', costs, (KIBIBYTES.at(-1) ?? NaN) / (KIBIBYTES[0] ?? NaN))
}

async function growthWithKeys({ quick, repeats }: Form): Promise<Measurement[]> {
  const count = quick ? 600 : 1_000
  const series = await Promise.all(
    KEYS.map(async (keys) => {
      const signer = await createSigner(ISSUER, 'ES256', keys)
      const auth = mcpAuth(inProcess(signer.keys).options)
      const measure = async (): Promise<number> => {
        const tokens = await mintForUsers(signer, count)
        return (await timeOf(tokens, (token) => auth.verify(token))) / count
      }
      await measure()
      return { name: `a new token, ${keys} key${keys === 1 ? '' : 's'} in the JWKS`, measure }
    }),
  )
  const costs = await inTurns(series, repeats)
  return growth('keys', 'CPU µs per call', costs, 1.3)
}

interface Series {
  readonly name: string
  readonly measure: () => Promise<number>
}

async function inTurns(
  series: readonly Series[],
  repeats: number,
): Promise<readonly (Series & { values: number[] })[]> {
  const costs = series.map((one) => ({ ...one, values: [] as number[] }))
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const { measure, values } of costs) values.push(await measure())
  }
  return costs
}

/**
 * @param most from the first of a series to its last
 * @param tolerance of the short form
 */
function growth(
  id: string,
  figure: string,
  costs: readonly { readonly name: string; readonly values: readonly number[] }[],
  most: number,
  tolerance?: number,
): Measurement[] {
  const [first, last] = [costs[0], costs.at(-1)]
  const ratios = (last?.values ?? []).map((value, repeat) => value / (first?.values[repeat] ?? NaN))
  return [
    ...costs.map(({ name, values }, number) => ({ id: `growth-${id}-${number + 1}`, work: name, figure, values })),
    {
      id: `growth-${id}`,
      work: 'the last of these',
      figure: '÷ the first',
      values: ratios,
      goal: { atMost: most },
      ...(tolerance !== undefined && { tolerance }),
    },
  ]
}
