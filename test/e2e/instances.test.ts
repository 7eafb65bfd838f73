import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createInstanceProcesses, type Instance, type InstanceProcess } from '../support/instances.js'
import { createRealStores, startScene, storeKinds, type Scene } from '../support/scene.js'

/** Milliseconds of an access token, and more than the time before its end at which it is renewed ahead. */
const LIFE = 300_000
const NEAR_ITS_END = 272_000
const CALLERS = 50

const stores = createRealStores()
const processes = createInstanceProcesses()
let four: InstanceProcess[]
beforeAll(async () => {
  await processes.prepare(4)
  four = await Promise.all(Array.from({ length: 4 }, () => processes.start()))
})
afterAll(async () => {
  await processes.end()
  stores.remove()
})

describe.each(storeKinds())('four processes with 50 concurrent callers each on one %s', (kind) => {
  let scene: Scene
  let instances: Instance[]
  beforeAll(async () => {
    scene = await startScene({ store: await stores.address(kind) })
    instances = await Promise.all(four.map((process) => scene.open(process)))
  })
  afterAll(async () => {
    await Promise.all(instances.map((instance) => instance.close()))
    await scene.close()
  })

  /** What all callers of all processes get. */
  async function tokens(subject: string): Promise<Set<unknown>> {
    const outcomes = await Promise.all(instances.map((instance) => instance.call(CALLERS, subject)))
    expect(outcomes.flat()).toHaveLength(4 * CALLERS)
    return new Set(outcomes.flat().map(({ token, failure }) => token ?? failure))
  }

  const advance = (ms: number) => Promise.all(instances.map((instance) => instance.advance(ms)))

  it('refresh once per expiry, over twenty of them, and present each refresh token once', async () => {
    const { refreshTokens } = scene
    const first = await scene.connect('alice')
    const before = refreshTokens.presented.length

    for (let expiries = 1; expiries <= 20; expiries += 1) {
      await advance(LIFE)
      expect(await tokens('alice')).toEqual(new Set([refreshTokens.accessTokens.at(-1)]))
      expect(refreshTokens.presented.length - before).toBe(expiries)
    }

    const family = refreshTokens.familyOf(first)
    expect(family.revoked).toBe(false)
    expect(refreshTokens.presented.slice(before)).toEqual(family.tokens.slice(0, -1))
    expect(await scene.stored('alice')).toMatchObject({ state: 'active', refreshToken: family.tokens.at(-1) })
  })

  it('renew ahead of expiry with one request among them, and serve the old token meanwhile', async () => {
    const { as, refreshTokens } = scene
    const first = await scene.connect('bob')
    const before = refreshTokens.presented.length
    await tokens('bob')

    for (let renewals = 1; renewals <= 5; renewals += 1) {
      const old = refreshTokens.accessTokens.at(-1)
      await advance(NEAR_ITS_END)
      let answer = (): void => undefined
      const meanwhile = new Promise<void>((resolve) => (answer = resolve))
      as.script('/token', async (request, res) => {
        await meanwhile
        refreshTokens.answer(request, res)
      })
      const renewed = await Promise.all(instances.map((instance) => instance.nextRenewal()))
      expect(await tokens('bob')).toEqual(new Set([old]))
      answer()
      await Promise.all(renewed.map(({ ended }) => ended))
      expect(await tokens('bob')).toEqual(new Set([refreshTokens.accessTokens.at(-1)]))
      expect(refreshTokens.presented.length - before).toBe(1 + renewals)
    }

    const family = refreshTokens.familyOf(first)
    expect(family.revoked).toBe(false)
    expect(refreshTokens.presented.slice(before)).toEqual(family.tokens.slice(0, -1))
  })
})
