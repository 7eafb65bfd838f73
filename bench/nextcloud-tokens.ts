import { mcpAuth } from '../dist/index.js'
import type { Form, Measurement } from './figures.js'
import { processorTime } from './middleware.js'
import { startProgram } from './processes.js'
import { CLIENT, createSigner, inProcess, ISSUER, RESOURCE } from './tokens.js'

const NEXTCLOUD = { url: 'https://cloud.example.com' }

/** `req.getNextcloudToken()` while the token is in the cache. */
export async function measureCachedToken({ quick, repeats }: Form): Promise<Measurement> {
  const calls = quick ? 50_000 : 200_000
  const signer = await createSigner(ISSUER)
  const auth = mcpAuth(inProcess(signer.keys, { life: 7_200 }).options)
  const { getNextcloudToken } = (await auth.verify(await signer.mint())).extra
  const call = async (): Promise<void> => {
    for (let count = 0; count < calls; count += 1) await getNextcloudToken()
  }
  await call()
  const values: number[] = []
  for (let repeat = 0; repeat < repeats; repeat += 1) values.push(await processorTime(calls, call))
  const { exchanges } = auth.stats()
  await auth.close()
  if (exchanges !== 1) throw new Error('The token did not come from the cache')
  return {
    id: 'cached-token',
    work: 'req.getNextcloudToken(), cached',
    figure: 'CPU µs per call',
    values,
    goal: { atMost: 2 },
    absolute: true,
  }
}

/** Many first calls at one time, of one user. */
export async function measureOneUser({ quick }: Form): Promise<Measurement> {
  const calls = 10_000
  const signer = await createSigner(ISSUER)
  const { options, asked } = inProcess(signer.keys, { wait: () => new Promise((resolve) => setImmediate(resolve)) })
  const values: number[] = []
  for (let repeat = 0; repeat < (quick ? 1 : 3); repeat += 1) {
    const auth = mcpAuth(options)
    const { getNextcloudToken } = (await auth.verify(await signer.mint())).extra
    asked.tokenRequests = 0
    await Promise.all(Array.from({ length: calls }, () => getNextcloudToken()))
    values.push(asked.tokenRequests)
    await auth.close()
  }
  return {
    id: 'one-user',
    work: '10,000 concurrent first calls of one user',
    figure: 'token requests',
    values,
    goal: { atMost: 1 },
  }
}

const USERS = 1_000
const CALLS_EACH = 100

/** Many first calls at one time, of many users, at an authorization server in another process. */
export async function measureManyUsers({ quick, repeats }: Form): Promise<Measurement[]> {
  const as = await startProgram('authorization-server.ts', [])
  try {
    const issuer = String(as.said)
    const minted = new Promise<string[]>((resolve) => {
      as.process.once('message', ({ tokens }: { tokens: string[] }) => resolve(tokens))
    })
    as.process.send({ mint: USERS })
    const tokens = await minted
    const requests: number[] = []
    const ratios: number[] = []
    for (let repeat = -1; repeat < (quick ? 3 : repeats); repeat += 1) {
      const ours = (): Promise<{ ms: number; requests: number }> => coldCalls(issuer, tokens)
      const bare = (): Promise<number> => bareRequests(`${issuer}/token`, tokens)
      // The one before, the other after, in turns.
      const inTurn = repeat % 2 === 0
      const bareFirst = inTurn ? await bare() : 0
      const cold = await ours()
      const bareTime = inTurn ? bareFirst : await bare()
      // The first round warms up.
      if (repeat < 0) continue
      requests.push(cold.requests)
      ratios.push(cold.ms / bareTime)
    }
    const work = '1,000 users × 100 concurrent calls, cold'
    return [
      { id: 'many-users', work, figure: 'token requests', values: requests, goal: { atMost: USERS }, places: 0 },
      {
        id: 'many-users-time',
        work: 'the same',
        figure: 'time ÷ 1,000 bare fetch',
        values: ratios,
        goal: { atMost: 1.2 },
        // Known to miss its goal (node-fetch); the short form fails only above two and a half times the goal.
        tolerance: 1.5,
      },
    ]
  } finally {
    as.stop()
  }
}

async function coldCalls(issuer: string, tokens: readonly string[]): Promise<{ ms: number; requests: number }> {
  const auth = mcpAuth({ issuer, resource: RESOURCE, ...CLIENT, nextcloud: NEXTCLOUD, http: { timeout: 60_000 } })
  const users = await Promise.all(tokens.map((token) => auth.verify(token)))
  await auth.ready()
  const start = performance.now()
  await Promise.all(users.flatMap(({ extra }) => Array.from({ length: CALLS_EACH }, () => extra.getNextcloudToken())))
  const ms = performance.now() - start
  const { exchanges } = auth.stats()
  await auth.close()
  return { ms, requests: exchanges }
}

/** The same requests with nothing around them. */
async function bareRequests(tokenEndpoint: string, tokens: readonly string[]): Promise<number> {
  const start = performance.now()
  await Promise.all(
    tokens.map(async (token) => {
      const response = await fetch(tokenEndpoint, {
        method: 'POST',
        headers: { authorization: 'Basic bWNwLXNlcnZlcjpzZWNyZXQ=' },
        body: new URLSearchParams({
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          subject_token: token,
          subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          audience: 'nextcloud',
        }),
      })
      await response.json()
    }),
  )
  return performance.now() - start
}
