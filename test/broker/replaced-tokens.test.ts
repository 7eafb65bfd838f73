import { describe, expect, it } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'
import { recordKey } from '../../src/grants/record-key.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { failureOf, until } from '../support/promises.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }
const MINUTE = 60_000

/** A server that revokes the token given alone, and a list of deletions and a grant whose writes can be made to fail. */
async function setUp() {
  const memory = new MemoryStorage()
  const faults = { list: false, grant: false }
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => memory.get(key),
    delete: (...args) => memory.delete(...args),
    async put(key, ...args) {
      if (faults.list && key === listKey) throw new Error('lost')
      const written = await memory.put(key, ...args)
      if (faults.grant && key === grantKey) throw new Error('unanswered')
      return written
    },
  }
  const setup = await world({ mode: 'refresh-token', storage, options: { http: { retries: 0 } } })
  const { as, grants, connect } = setup
  const grantKey = grants.store.keyOf({ issuer: as.issuer, ...ALICE })
  const listKey = recordKey('deletions', grants.owner, '0')
  as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
  as.script('/revoke', { status: 200 })
  return {
    ...setup,
    faults,
    connectAll: async (...tokens: readonly string[]) => {
      for (const refreshToken of tokens) await connect('alice', { refreshToken, clientId: `client of ${refreshToken}` })
    },
    revoked: () => as.received('/revoke').map(({ form }) => form.get('token')),
    kept: async () => JSON.stringify((await grants.records.read(grantKey))?.value),
  }
}

describe('a disconnection after several connections', () => {
  it('revokes the refresh token of each, and not one before', async () => {
    const { as, auth, grants, connectAll, revoked, kept, events } = await setUp()
    await connectAll('one', 'two', 'three')
    expect(revoked()).toEqual([])
    const identity = { issuer: as.issuer, ...ALICE }
    expect(await grants.store.disconnect(identity, 'client of one')).toMatchObject({ remains: true, replaced: [] })
    expect(revoked()).toEqual([])

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    expect(revoked().sort()).toEqual(['one', 'three', 'two'])
    expect(await kept()).not.toMatch(/"(one|two|three)"/)
    expect(events.filter(({ type }) => type === 'grant.revoked')).toHaveLength(1)
    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })
    expect(revoked()).toHaveLength(3)
  })

  it('keeps those before through a renewal and a dead grant', async () => {
    const { as, auth, connectAll, revoked, stored } = await setUp()
    await connectAll('one', 'two')
    as.script('/token', {
      json: { access_token: 'fresh', token_type: 'Bearer', expires_in: 60, refresh_token: 'rotated' },
    })
    await auth.getNextcloudToken(ALICE)
    expect(await stored()).toMatchObject({ refreshToken: 'rotated', replaced: [{ refreshToken: 'one' }] })
    as.script('/token', { status: 400, json: { error: 'invalid_grant' } })
    await failureOf(auth.getNextcloudToken(ALICE, { forceRefresh: true }))
    expect(await stored()).toMatchObject({ state: 'needs-reconnect' })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
    expect(revoked()).toEqual(['one'])
  })

  it('revokes the last eight before, and none that is known to have ended', async () => {
    const { grants, as, auth, clock, connectAll, revoked } = await setUp()
    const identity = { issuer: as.issuer, ...ALICE }
    const of = { fingerprint: 'short', clientId: 'short', scopes: [], refreshEndsAt: clock.now() + MINUTE }
    await grants.store.connect(identity, { ...of, refreshToken: 'short' })
    const many = Array.from({ length: 11 }, (_, index) => `token ${index}`)
    await connectAll(...many.slice(0, 2))
    clock.advance(MINUTE)
    await auth.revoke(ALICE)
    expect(revoked().sort()).toEqual(['token 0', 'token 1'])

    await connectAll(...many)
    await auth.revoke(ALICE)
    expect(revoked().slice(2).sort()).toEqual(many.slice(2).sort())
  })

  it('keeps fewer of them where they are long, the latest', async () => {
    const { auth, connectAll, revoked } = await setUp()
    const long = ['one', 'two', 'three', 'four'].map((name) => name.padEnd(7_000, '-'))
    await connectAll(...long)

    await auth.revoke(ALICE)
    expect(revoked().sort()).toEqual(long.slice(1).sort())
  })

  it('is pending while one of them cannot be revoked, which is caught up', async () => {
    const { as, auth, clock, connectAll, revoked, happened } = await setUp()
    await connectAll('one', 'two')
    const never = JSON.stringify({ error: 'unsupported_token_type' })
    as.script('/revoke', ({ form }, res) =>
      form.get('token') === 'one' ? void res.writeHead(503).end() : void res.writeHead(400).end(never),
    )

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })

    as.script('/revoke', { status: 200 })
    clock.advance(MINUTE)
    await until(() => revoked().length === 3)
    expect(revoked().at(-1)).toBe('one')
    await happened('grant.revoked', 2)
  })

  it('that could not note them, and whose write seems to fail, ends them when it is repeated', async () => {
    const { auth, connectAll, revoked, kept, faults } = await setUp()
    await connectAll('one', 'two')
    Object.assign(faults, { list: true, grant: true })
    expect(await failureOf(auth.revoke(ALICE))).toBeInstanceOf(StorageError)
    expect(revoked()).toEqual([])
    Object.assign(faults, { list: false, grant: false })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    expect(revoked().sort()).toEqual(['one', 'two'])
    expect(await kept()).not.toMatch(/"(one|two)"/)
  })

  it('that could not note them leaves them to the connection after it', async () => {
    const { auth, connectAll, revoked, faults } = await setUp()
    await connectAll('one', 'two')
    Object.assign(faults, { list: true, grant: true })
    await failureOf(auth.revoke(ALICE))
    Object.assign(faults, { list: false, grant: false })
    await connectAll('three')
    expect(revoked()).toEqual([])

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
    expect(revoked().sort()).toEqual(['one', 'three', 'two'])
  })
})
