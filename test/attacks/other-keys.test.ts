import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { SealedValueError } from '../../src/errors/errors.js'
import { createSealer, type Sealer } from '../../src/grants/seal.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/index.js'
import { ENCRYPTION_KEY as OLD } from '../support/grant-constants.js'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { failureOf, turn, until } from '../support/promises.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'
import { world, type World } from '../support/world.js'

// Many processes change the encryption key one by one: what one of them cannot open is neither lost nor left alive.

const ALICE = { subject: 'alice' }
const NEW = randomBytes(32).toString('base64url')
const HOUR = 3_600_000
const sealerOf = (keys: string): Sealer =>
  createSealer(keys.split(',').map((key) => new Uint8Array(Buffer.from(key, 'base64url'))))

/** Seals all records, or those under one key, as an instance with other keys would have. */
async function sealAgain(storage: StorageAdapter, from: string, to: string): Promise<void> {
  for (const key of (await storage.list?.({ limit: 1_000 })) ?? []) {
    const { value, version } = (await storage.get(key)) ?? expect.unreachable()
    const opened = await sealerOf(from)
      .open(key, value)
      .catch(() => undefined)
    if (opened !== undefined) await storage.put(key, await sealerOf(to).seal(key, opened), version, 86_400_000)
  }
}

/** The same world, whose authorization server revokes tokens. */
function revocable<W extends World>(set: W): W {
  set.as.metadata['revocation_endpoint'] = `${set.as.issuer}/revoke`
  set.as.script('/revoke', { status: 200 })
  return set
}

/** Milliseconds for what is on its way on this machine, which is slow where other work takes the processors: the clock must not outrun it. */
const ON_ITS_WAY = 5

const rest = async (): Promise<void> => {
  for (let turns = 0; turns < 50; turns += 1) await turn()
  await setTimeout(ON_ITS_WAY)
}

describe('the order old,new – new,old – new', () => {
  const ORDER = [OLD, `${OLD},${NEW}`, `${NEW},${OLD}`, NEW]

  it('lets each step and the next one read what the other has written: tokens, links and disconnections', async () => {
    const set = revocable(await world({ mode: 'refresh-token', options: { encryptionKey: OLD } }))
    await set.connect()
    for (const [step, keys] of ORDER.entries()) {
      const next = ORDER[step + 1]
      const instances = [keys, ...(next === undefined ? [] : [next])].map((encryptionKey) =>
        set.open({ encryptionKey }),
      )
      for (const auth of [...instances, ...instances.toReversed()]) {
        expect(await auth.getNextcloudToken({ ...ALICE }, { forceRefresh: true })).toMatch(/^access-/)
        expect(await auth.isProvisioned(ALICE)).toBe(true)
      }
    }
    expect(await set.open({ encryptionKey: NEW }).revoke(ALICE)).toEqual({ revoked: true })
  })
})

describe('a grant that an instance cannot open', () => {
  const setUp = async () => {
    const set = revocable(await world({ mode: 'refresh-token', options: { encryptionKey: OLD } }))
    const refreshToken = await set.connect()
    await sealAgain(set.storage, OLD, NEW)
    return { ...set, auth: set.open(), refreshToken, withKey: () => set.open({ encryptionKey: `${NEW},${OLD}` }) }
  }
  const revoked = ({ as }: Awaited<ReturnType<typeof setUp>>) =>
    as.received('/revoke').map(({ form }) => form.get('token'))

  it('is refused, and stays as it is', async () => {
    const { auth, withKey } = await setUp()

    for (const call of [auth.getNextcloudToken(ALICE), auth.isProvisioned(ALICE), auth.rotate(ALICE)])
      expect(await failureOf(call)).toBeInstanceOf(SealedValueError)
    expect(await withKey().isProvisioned(ALICE)).toBe(true)
  })

  it('is ended at once by a disconnect, and its refresh token is revoked by whoever has the key', async () => {
    const set = await setUp()
    const { auth, clock, events, refreshToken, withKey } = set

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    for (let minutes = 0; minutes < 60; minutes += 1) {
      clock.advance(60_000)
      await failureOf(auth.getNextcloudToken(ALICE))
      await rest()
    }
    expect(revoked(set)).toEqual([])

    const other = withKey()
    expect(await failureOf(other.getNextcloudToken(ALICE))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
    clock.advance(1_000)
    await until(() => revoked(set).length > 0)
    await set.happened('grant.revoked', 2)
    expect(revoked(set)).toEqual([refreshToken])
    expect(events.flatMap((event) => (event.type === 'grant.revoked' ? [event.revoked] : []))).toEqual([
      'pending',
      true,
    ])
  })

  it('of which nobody has the key is given up after 30 days, and the operator hears of it', async () => {
    const { auth, clock, events } = await setUp()
    await auth.revoke(ALICE)
    for (let days = 0; days < 32; days += 1) {
      clock.advance(24 * HOUR)
      await failureOf(auth.getNextcloudToken(ALICE))
      await rest()
    }

    expect(events.filter(({ type }) => type === 'grant.revoked').at(-1)).toMatchObject({
      revoked: false,
      hint: expect.stringContaining('Devices & sessions') as string,
    })
  })

  it('is replaced by a new connection, and its refresh token is ended with that', async () => {
    const set = await setUp()
    const { auth, clock, connect, refreshToken, withKey } = set
    const second = await connect()
    expect(await auth.getNextcloudToken(ALICE)).toMatch(/^access-/)

    const other = withKey()
    await other.getNextcloudToken(ALICE)
    clock.advance(1_000)
    await rest()
    // While the connection lives none is revoked: some servers would end it with any of them.
    expect(revoked(set)).toEqual([])
    expect(await other.isProvisioned(ALICE)).toBe(true)
    await other.revoke(ALICE)
    for (let minutes = 0; minutes < 90 && revoked(set).length < 2; minutes += 1) {
      clock.advance(60_000)
      await rest()
    }
    expect(revoked(set)).toContain(refreshToken)
    expect(revoked(set)).not.toContain(second)
  })

  it('is not deleted where its end cannot be noted', async () => {
    const set = await world({ mode: 'refresh-token', options: { encryptionKey: OLD } })
    // Too long for a note.
    await set.connect('alice', { refreshToken: 'r'.repeat(40_000) })
    await sealAgain(set.storage, OLD, NEW)

    expect(await failureOf(set.open().revoke(ALICE))).toBeInstanceOf(SealedValueError)
    expect(await set.open({ encryptionKey: `${NEW},${OLD}` }).isProvisioned(ALICE)).toBe(true)
  })

  it('has its app password deleted by whoever has the key', async () => {
    const set = await appPasswordWorld({ options: { encryptionKey: OLD } })
    await set.connectAs('alice.w')
    await sealAgain(set.storage, OLD, NEW)

    expect(await set.open().revoke(ALICE)).toEqual({ revoked: 'pending' })
    expect(set.nextcloud.appPasswords).toHaveLength(1)
    await set.open({ encryptionKey: `${NEW},${OLD}` }).isProvisioned(ALICE)
    set.clock.advance(1_000)
    await until(() => set.nextcloud.appPasswords.length === 0)
  })
})

describe('a link that an instance cannot open', () => {
  const setUp = async () => {
    const set = await world({ mode: 'refresh-token', host: bareHost, options: { encryptionKey: OLD } })
    const link = await set.link()
    await sealAgain(set.storage, OLD, NEW)
    return { ...set, link }
  }

  it('is not over: the page says to come again, and another instance shows it', async () => {
    const { browser, elsewhere, link } = await setUp()
    const user = browser()
    const answer = await user.open(link)
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '5'])

    const other = await elsewhere(user, { encryptionKey: `${NEW},${OLD}` })
    expect((await other.open(link)).status).toBe(200)
  })

  it('is over when it was sealed with a key that never came', async () => {
    const { browser, clock, link, storage } = await setUp()
    expect((await browser().open(link)).status).toBe(503)
    clock.advance(HOUR)
    await sealAgain(storage, NEW, NEW)

    expect((await browser().open(link)).status).toBe(410)
  })
})

it('a refresh token of the sign-in server that an instance cannot open is not refused: the client keeps it', async () => {
  const storage = new MemoryStorage()
  const server = await startSignInServer({ storage })
  const client = await registeredClient(server)
  const { body } = await client.signIn(server.person('alice'))
  const refreshToken = String(body['refresh_token'])
  await sealAgain(storage, OLD, NEW)

  const refused = await client.refresh(refreshToken)
  expect(refused).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } })

  await sealAgain(storage, NEW, OLD)
  expect((await client.refresh(refreshToken)).status).toBe(200)
})
