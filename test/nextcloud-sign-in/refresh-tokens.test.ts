import { randomBytes } from 'node:crypto'
import { errors } from 'oidc-provider'
import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createModelAdapters, keepClient } from '../../src/nextcloud-sign-in/model-adapter.js'
import { refreshTokenOf } from '../../src/nextcloud-sign-in/refresh-tokens.js'
import { manualClock } from '../support/clock.js'
import { modelRooms } from '../support/model-rooms.js'
import { registeredClient, type TokenAnswer } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const MONTH = 29 * 86_400

/** Grants of one store, and two instances that take their refresh tokens. */
function setUp() {
  const clock = manualClock()
  const storage = new MemoryStorage({}, clock)
  const open = () => {
    const rooms = modelRooms(storage, clock)
    return [createModelAdapters(rooms), (id: string, user: string) => keepClient(rooms, id, user)] as const
  }
  const [[here, use], [there]] = [open(), open()]
  const seconds = () => Math.floor(clock.now() / 1_000)
  return {
    clock,
    here,
    there,
    records: async () => (await storage.list({ limit: 1_000 })).length,
    /** A grant that somebody has, with its first refresh token. */
    begin: async (accountId = 'alice', clientId = 'cli') => {
      const grantId = `w0.${randomBytes(32).toString('base64url')}`
      await here('Grant').upsert(grantId, { accountId, clientId }, 400 * 86_400)
      await issue(here, grantId, 0)
      return grantId
    },
    /** Spends the token before it for another, as oidc-provider does. */
    issue,
    register: async (clientId: string, ...users: readonly string[]) => {
      await here('Client').upsert(clientId, { client_id: clientId }, 0)
      for (const user of users) await use(clientId, user)
    },
    isRegistered: async (clientId: string) => (await there('Client').find(clientId)) !== undefined,
    isThere: async (grantId: string) => (await there('Grant').find(grantId)) !== undefined,
  }

  async function issue(
    at: typeof here,
    grantId: string,
    rotations: number,
    meanwhile = (): Promise<void> => Promise.resolve(),
  ): Promise<void> {
    const tokens = at('RefreshToken')
    if (rotations > 0) {
      const before = refreshTokenOf(grantId, rotations - 1)
      const found = await tokens.find(before)
      if (found?.consumed !== undefined) {
        await Promise.all([tokens.destroy(before), tokens.revokeByGrantId(grantId), at('Grant').destroy(grantId)])
        throw new errors.InvalidGrant('refresh token already used')
      }
      if (found === undefined) throw new errors.InvalidGrant('refresh token not found')
      await meanwhile()
      await tokens.consume(before)
    }
    const payload = {
      grantId,
      accountId: 'alice',
      iat: seconds(),
      exp: seconds() + MONTH,
      ...(rotations > 0 && { rotations }),
    }
    await tokens.upsert(refreshTokenOf(grantId, rotations), payload, MONTH)
  }
}

describe('the refresh tokens of a grant', () => {
  it('are one record, however often they are refreshed: one user must not fill the store for the others', async () => {
    const { clock, here, begin, issue, records } = setUp()
    const grantId = await begin()
    const before = await records()

    for (let rotations = 1; rotations <= 100; rotations += 1) {
      clock.advance(600_000)
      await issue(here, grantId, rotations)
    }

    expect(await records()).toBe(before)
  })

  it('are each told by itself, and nobody makes one up', async () => {
    const { here, begin, issue } = setUp()
    const [grantId, other] = [await begin(), await begin('bob')]
    for (const rotations of [1, 2]) await issue(here, grantId, rotations)
    const tokens = here('RefreshToken')
    const [newest, others] = [refreshTokenOf(grantId, 2), refreshTokenOf(other, 0)]

    expect(await tokens.find(newest)).toMatchObject({ grantId, rotations: 2, jti: newest })
    expect(await tokens.find(others)).toMatchObject({ grantId: other })
    for (const madeUp of [
      newest.slice(0, -1) + '1',
      newest.slice(0, -1) + '3',
      newest.slice(0, 22) + others.slice(22),
      `${newest.slice(0, 40)}A${newest.slice(41)}`,
      refreshTokenOf(grantId, 3),
      newest.slice(0, 22),
      '',
    ])
      expect(await tokens.find(madeUp)).toBeUndefined()
  })

  it.each([1, 5, 50])('end as one when the first of them comes back after %i others, at any time', async (count) => {
    const { clock, here, there, begin, issue } = setUp()
    const grantId = await begin()
    for (let rotations = 1; rotations <= count; rotations += 1) {
      clock.advance(40_000)
      await issue(here, grantId, rotations)
    }
    clock.advance(28 * 86_400_000)

    expect(await there('RefreshToken').find(refreshTokenOf(grantId, 0))).toMatchObject({ grantId, consumed: true })
  })

  it('may be spent again for half a minute, which gives the same successor, and not a moment longer', async () => {
    const { clock, here, there, begin, issue, isThere, records } = setUp()
    const grantId = await begin()
    await issue(here, grantId, 1)
    const before = await records()

    clock.advance(29_000)
    await Promise.all([issue(there, grantId, 1), issue(here, grantId, 1), issue(there, grantId, 1)])
    expect(await there('RefreshToken').find(refreshTokenOf(grantId, 0))).not.toHaveProperty('consumed', true)
    expect(await records()).toBe(before)
    clock.advance(1_000)

    await expect(issue(there, grantId, 1)).rejects.toThrow(errors.InvalidGrant)
    expect(await isThere(grantId)).toBe(false)
  })

  it('that was found in its grace ends nothing, however late its successor is kept', async () => {
    const { clock, here, there, begin, issue, isThere } = setUp()
    const grantId = await begin()
    await issue(here, grantId, 1)
    clock.advance(29_000)
    // Nextcloud is asked in between.
    const late = () => Promise.resolve(clock.advance(2_000))
    await issue(there, grantId, 1, late)

    const standstill = async () => {
      await issue(here, grantId, 3)
      clock.advance(30_000)
    }
    await expect(issue(there, grantId, 2, () => issue(here, grantId, 2).then(standstill))).rejects.toThrow(
      errors.InvalidGrant,
    )
    expect(await isThere(grantId)).toBe(true)
    await issue(there, grantId, 4)
  })

  it('have each a grace of its own', async () => {
    const { clock, here, begin, issue, isThere } = setUp()
    const grantId = await begin()
    await issue(here, grantId, 1)
    clock.advance(20_000)
    await issue(here, grantId, 2)
    clock.advance(9_000)
    await issue(here, grantId, 1)
    clock.advance(1_000)
    await issue(here, grantId, 2)

    await expect(issue(here, grantId, 1)).rejects.toThrow(errors.InvalidGrant)
    expect(await isThere(grantId)).toBe(false)
  })

  it('do not come back once they were revoked while one of them was spent', async () => {
    const { here, there, begin, issue, records } = setUp()
    const grantId = await begin()
    const before = await records()
    const tokens = there('RefreshToken')
    await tokens.revokeByGrantId(grantId)
    expect(await records()).toBe(before - 1)

    await expect(tokens.upsert(refreshTokenOf(grantId, 1), { grantId, rotations: 1 }, MONTH)).rejects.toThrow(
      errors.InvalidGrant,
    )
    await expect(issue(here, grantId, 1)).rejects.toThrow(errors.InvalidGrant)
  })

  it('are none without a grant, whose tokens anybody could make up', () => {
    expect(() => refreshTokenOf(undefined, 0)).toThrow()
  })

  it('are refused where oidc-provider has given one another id than they have', async () => {
    const { here } = setUp()

    await expect(here('RefreshToken').upsert('another-id', { grantId: 'grant' }, 60)).rejects.toThrow()
  })
})

describe('the consents of a person', () => {
  it('are fifty, to whichever clients: a further one ends the one that was used least recently, and nobody else’s', async () => {
    const { clock, here, begin, issue, isThere, records } = setUp()
    const bobs = await begin('bob')
    const mine: string[] = []
    for (let count = 0; count < 50; count += 1) {
      clock.advance(1_000)
      mine.push(await begin())
    }
    const [first = '', second = '', third = ''] = mine
    await issue(here, first, 1)
    const full = await records()

    clock.advance(1_000)
    const further = [await begin(), await begin()]

    expect(await records()).toBe(full)
    expect(await Promise.all([first, second, third, ...further, bobs].map(isThere))).toEqual([
      ...[true, false, false],
      ...[true, true],
      true,
    ])
  })

  it('that have ended make room for those that have not, however long those were not used', async () => {
    const { clock, here, begin, isThere } = setUp()
    const living = await begin()
    for (let count = 0; count < 60; count += 1) {
      clock.advance(1_000)
      await here('Grant').destroy(await begin())
    }

    expect(await isThere(living)).toBe(true)
  })

  it('end with a client that has registered itself and that nobody else uses, once there is none left to it', async () => {
    const { clock, begin, register, isRegistered } = setUp()
    const clients = {
      own: ['alice'],
      'of both': ['alice', 'bob'],
      'of three': ['bob', 'alice', 'carol'],
      unused: [],
    }
    for (const [clientId, users] of Object.entries(clients)) {
      await register(clientId, ...users)
      await begin('alice', clientId)
    }
    await begin('alice', 'own')
    const fill = async (count: number): Promise<void> => {
      for (let consent = 0; consent < count; consent += 1) {
        clock.advance(1_000)
        await begin()
      }
    }

    await fill(49)
    expect(await isRegistered('own')).toBe(true)
    await fill(1)

    const left = await Promise.all(Object.keys(clients).map(isRegistered))
    expect(left).toEqual([false, true, true, true])
  })

  it('end where an earlier version took a client whose id is too long today', async () => {
    const { begin, isThere } = setUp()
    const long = await begin('alice', `https://client.example.com/${'x'.repeat(512)}`)
    const short = await begin('alice')
    await begin('alice')

    expect([await isThere(long), await isThere(short)]).toEqual([false, true])
  })

  it('leave alone a client of two others whose names read as the person’s', async () => {
    const { begin, register, isRegistered } = setUp()
    await register('of two', 'a', 'b')
    await begin('a,b', 'of two')
    for (let count = 0; count < 50; count += 1) await begin('a,b')

    expect(await isRegistered('of two')).toBe(true)
  })
})

const refreshTokenIn = ({ body }: TokenAnswer): string => String(body['refresh_token'])

describe('refreshes', () => {
  it('of one user by one client are sixty in ten minutes, and leave nothing behind', async () => {
    const clock = manualClock(Date.now())
    const storage = new MemoryStorage({}, clock)
    const server = await startSignInServer({ clock, storage })
    const client = await registeredClient(server)
    const bob = refreshTokenIn(await client.signIn(server.person('bob')))
    let token = refreshTokenIn(await client.signIn(server.person('alice')))
    const first = await client.refresh(token)
    const before = await storage.list({ limit: 1_000 })
    token = refreshTokenIn(first)
    for (let count = 1; count < 60; count += 1) {
      const answer = await client.refresh(token)
      expect(answer.status).toBe(200)
      token = refreshTokenIn(answer)
    }
    expect(await storage.list({ limit: 1_000 })).toEqual(before)
    const asked = server.nextcloud.requests.length

    const { status, body, headers } = await client.refresh(token)

    expect([status, body['error'], headers.get('retry-after')]).toEqual([429, 'temporarily_unavailable', '600'])
    expect(server.nextcloud.requests).toHaveLength(asked)
    expect((await client.refresh(bob)).status).toBe(200)
    clock.advance(600_000)
    expect((await client.refresh(token)).status).toBe(200)
  })
})
