import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createRealStores, storeKinds } from '../support/scene.js'
import { clientOf, registeredClient, type TokenAnswer } from '../support/sign-in-client.js'
import { startSignInProcesses, type SignInInstances, type SignInProcesses } from '../support/sign-in-instances.js'

const stores = createRealStores()
let processes: SignInProcesses
beforeAll(async () => {
  processes = await startSignInProcesses(2)
})
afterAll(async () => {
  await processes.end()
  stores.remove()
})

const refreshTokenOf = ({ body }: TokenAnswer): string => String(body['refresh_token'])
const accessTokenOf = ({ body }: TokenAnswer): string => String(body['access_token'])
const outcomes = (answers: readonly TokenAnswer[]) => answers.map(({ status, body }) => body['error'] ?? status).sort()

/** The id that the server behind an access token finds in Nextcloud, or the status of its refusal. */
async function userOf(url: string, token: string): Promise<unknown> {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  return answer.ok ? ((await answer.json()) as { id: string }).id : answer.status
}

const DAY = 86_400_000
const MINUTE = 60_000

describe.each(storeKinds())('two processes of the sign-in server on one %s', (kind) => {
  async function open(): Promise<SignInInstances> {
    const instances = await processes.open(await stores.address(kind))
    onTestFinished(() => instances.close())
    return instances
  }
  const keysOf = async (origin: string): Promise<string[]> => {
    const { keys } = (await (await fetch(`${origin}/oauth/jwks`)).json()) as { keys: { kid: string }[] }
    return keys.map(({ kid }) => kid)
  }

  it.each([0, 1])('sign somebody in where each request goes to the other one, beginning with %i', async (first) => {
    const instances = await open()
    instances.begin(first)
    const client = await registeredClient(instances)

    const signedIn = await client.signIn(instances.person('alice'))
    const refreshed = await client.refresh(refreshTokenOf(signedIn))
    const again = await client.refresh(refreshTokenOf(refreshed))

    expect([signedIn.status, refreshed.status, again.status]).toEqual([200, 200, 200])
    for (const answer of [signedIn, refreshed, again, again]) {
      expect(await userOf(instances.url, accessTokenOf(answer))).toBe('alice')
    }
    // Registration, authorize, consent, yes, callback, done, back, code, two refreshes, four uses.
    expect(instances.visited).toEqual(instances.visited.map((_, at) => (first + at) % 2))
    expect(instances.visited.length).toBeGreaterThanOrEqual(14)
  })

  it('give tokens for a code to one of two requests at once, and end what that one got', async () => {
    const instances = await open()
    const alice = instances.person('alice')
    for (let round = 0; round < 5; round += 1) {
      const client = await registeredClient(instances)
      const code = (await client.authorize(alice)).get('code') ?? ''

      const answers = await Promise.all(instances.each.map(({ origin }) => client.redeem(code, {}, origin)))

      expect(outcomes(answers)).toEqual([200, 'invalid_grant'])
      const [winner] = answers.filter(({ status }) => status === 200)
      for (const place of instances.each) {
        const refreshed = await clientOf(place, client.clientId).refresh(refreshTokenOf(winner as TokenAnswer))
        expect(refreshed.body['error']).toBe('invalid_grant')
      }
    }
  })

  it('take a refresh token twice at once, as an answer may be lost, and end the family when it comes after half a minute', async () => {
    const instances = await open()
    const client = await registeredClient(instances)
    const [here, there] = instances.each.map((place) => clientOf(place, client.clientId))
    const first = refreshTokenOf(await client.signIn(instances.person('alice')))

    const answers = await Promise.all([here?.refresh(first), there?.refresh(first)])
    expect(answers.map((answer) => answer?.status)).toEqual([200, 200])

    await Promise.all([instances.advance(0, 31_000), instances.advance(1, 31_000)])
    onTestFinished(async () => {
      await Promise.all([instances.advance(0, -31_000), instances.advance(1, -31_000)])
    })
    const late = await Promise.all([here?.refresh(first), there?.refresh(first)])
    expect(late.map((answer) => answer?.body['error'])).toEqual(['invalid_grant', 'invalid_grant'])
    for (const answer of answers) {
      expect((await client.refresh(refreshTokenOf(answer as TokenAnswer))).body['error']).toBe('invalid_grant')
    }
  })

  it('have one set of keys, also when both begin at the same moment on an empty store', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { each } = await open()
      const [here, there] = await Promise.all(each.map(({ origin }) => keysOf(origin)))

      expect(here).toHaveLength(1)
      expect(there).toEqual(here)
    }
  })

  it('take the tokens of each other while one of them rotates the keys', async () => {
    const instances = await open()
    const client = await registeredClient(instances)
    const [here, there] = instances.each.map((place) => ({ ...place, ...clientOf(place, client.clientId) }))
    if (here === undefined || there === undefined) throw new Error('There are two')
    const advance = async (instance: number, ms: number): Promise<void> => {
      await instances.advance(instance, ms)
      onTestFinished(() => instances.advance(instance, -ms).then(() => undefined))
    }
    const old = await client.signIn(instances.person('alice'))
    const [oldKey] = await keysOf(here.origin)

    // The first makes a new key, which the other has not seen yet.
    await advance(0, 90 * DAY)
    expect(await keysOf(here.origin)).toEqual([oldKey, expect.any(String)])
    const fromHere = await here.refresh(refreshTokenOf(old))
    expect(await userOf(`${there.origin}/mcp`, accessTokenOf(fromHere))).toBe('alice')
    await advance(1, 90 * DAY)
    const meanwhile = [fromHere, await there.refresh(refreshTokenOf(fromHere))]

    // The first signs with it.
    for (const instance of [0, 1]) await advance(instance, 10 * MINUTE + 1_000)
    const now = await here.refresh(refreshTokenOf(meanwhile[1] as TokenAnswer))
    const [newKey] = await keysOf(here.origin)
    expect(newKey).not.toBe(oldKey)
    for (const answer of [old, ...meanwhile, now]) {
      for (const { origin } of [here, there]) {
        expect(await userOf(`${origin}/mcp`, accessTokenOf(answer))).toBe('alice')
      }
    }
    expect(await keysOf(there.origin)).toEqual([newKey, oldKey])

    // Nobody holds a token of the old key any more.
    for (const instance of [0, 1]) await advance(instance, 61 * MINUTE)
    for (const { origin } of [here, there]) expect(await keysOf(origin)).toEqual([newKey])
  })
})
