import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { mcpAuth, type McpAuth } from '../dist/index.js'
import { median, type Form, type Measurement } from './figures.js'
import { createSigner, inProcess, ISSUER } from './tokens.js'

const SLICES = 10

/** Microseconds of processor time that work took in this process, for each of `count`. */
export async function processorTime(count: number, work: () => unknown): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

/** Calls the middleware `count` times with tokens that it has verified before, in turn; none may wait. */
export function callMiddleware(auth: McpAuth, tokens: readonly string[], count: number): void {
  const req = new IncomingMessage(new Socket())
  const res = new ServerResponse(req)
  const headers = tokens.map((token) => Buffer.from(`Bearer ${token}`, 'latin1'))
  let passed = 0
  const next = (): void => {
    passed += 1
  }
  for (let call = 0; call < count; call += 1) {
    // A string of its own each time, as from the HTTP parser: an engine keeps the hash of one that it has seen.
    req.headers.authorization = headers[call % headers.length]?.toString('latin1')
    auth(req, res, next)
  }
  if (passed !== count) throw new Error(`${count - passed} calls did not pass at once`)
}

/** The cost of building the header alone, which is the HTTP parser's work and not the middleware's. */
export function buildHeaders(tokens: readonly string[], count: number): void {
  const headers = tokens.map((token) => Buffer.from(`Bearer ${token}`, 'latin1'))
  const req = new IncomingMessage(new Socket())
  for (let call = 0; call < count; call += 1) {
    req.headers.authorization = headers[call % headers.length]?.toString('latin1')
  }
}

/**
 * Microseconds of processor time of one call of the middleware, without the time for building its header: the median of some
 * differences, since a garbage collection in one of the two is more than the difference.
 */
export async function costOfCall(auth: McpAuth, tokens: readonly string[], count: number): Promise<number> {
  const differences: number[] = []
  for (let slice = 0; slice < SLICES; slice += 1) {
    const whole = await processorTime(count / SLICES, () => callMiddleware(auth, tokens, count / SLICES))
    differences.push(whole - (await processorTime(count / SLICES, () => buildHeaders(tokens, count / SLICES))))
  }
  return median(differences)
}

export async function measureMiddleware({ quick, repeats }: Form): Promise<Measurement[]> {
  const calls = quick ? 50_000 : 200_000
  const verifications = quick ? 1_000 : 4_000
  const signer = await createSigner(ISSUER)
  const token = await signer.mint()
  const auth = mcpAuth(inProcess(signer.keys).options)
  await auth.verify(token)
  const keys = createLocalJWKSet(signer.keys)
  const verify = async (): Promise<void> => {
    for (let count = 0; count < verifications; count += 1) await jwtVerify(token, keys)
  }
  callMiddleware(auth, [token], calls)
  await verify()
  const costs: number[] = []
  const ratios: number[] = []
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const cost = await costOfCall(auth, [token], calls)
    const verification = await processorTime(verifications, verify)
    costs.push(cost)
    ratios.push(cost / verification)
  }
  await auth.close()
  const work = 'the middleware alone, repeated token'
  return [
    { id: 'middleware', work, figure: 'CPU µs per call', values: costs, goal: { atMost: 3 }, absolute: true },
    {
      id: 'middleware-ratio',
      work: 'the same',
      figure: '÷ awaited jose.jwtVerify',
      values: ratios,
      goal: { atMost: 1 / 40 },
      places: 4,
    },
  ]
}
