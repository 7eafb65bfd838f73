import { describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { formerKey } from '../../src/grants/record-key.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { startNextcloudAccounts } from '../support/nextcloud-accounts.js'
import { failureOf } from '../support/promises.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { NEXTCLOUD, openGrants, world } from '../support/world.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user'

/** Two configurations that differ in one option, on one store. Alice is connected at the first. */
async function setUpTwo(first: McpAuthOptions, second: McpAuthOptions) {
  const setup = await world({ mode: 'refresh-token', options: { ...first, cache: { grantCheck: 1 } } })
  await setup.connect()
  const other = setup.open(second)
  const otherGrants = openGrants(
    {
      ...{ issuer: setup.as.issuer, resource: RESOURCE, clientId: 'mcp-server', clientSecret: 'x' },
      ...{ storage: setup.storage, encryptionKey: ENCRYPTION_KEY },
      ...first,
      ...second,
      nextcloud: { url: NEXTCLOUD, mode: 'refresh-token', ...first.nextcloud, ...second.nextcloud },
    },
    setup.storage,
    setup.clock,
  )
  const identity = { issuer: setup.as.issuer, subject: 'alice' }
  const connectOther = async () => {
    const refreshToken = setup.refreshTokens.issue()
    const fingerprint = otherGrants.fingerprint(refreshToken)
    await otherGrants.store.connect(identity, { refreshToken, fingerprint, clientId: 'mcp-client', scopes: [] })
    return refreshToken
  }
  return { ...setup, other, otherGrants, connectOther, identity }
}

const nextcloud = (url: string): McpAuthOptions => ({ nextcloud: { url } })

describe.each<[differing: string, first: McpAuthOptions, second: McpAuthOptions]>([
  ['Nextcloud', nextcloud('https://one.example.com'), nextcloud('https://two.example.com')],
  ['path of Nextcloud', nextcloud('https://one.example.com/a'), nextcloud('https://one.example.com/b')],
  ['port of Nextcloud', nextcloud('https://one.example.com'), nextcloud('https://one.example.com:8443')],
  ['resource', {}, { resource: 'https://mcp.example.com/other' }],
])('two configurations that differ in their %s', (_differing, first, second) => {
  it('do not see, replace or end the grants of each other', async () => {
    const { auth, other, connectOther, refreshTokens, stored } = await setUpTwo(first, second)
    const before = await stored()

    expect(await failureOf(other.getNextcloudToken(ALICE))).toMatchObject({ reason: 'never' })
    expect(await other.isProvisioned(ALICE)).toBe(false)
    expect(await other.revoke(ALICE)).toEqual({ revoked: false })
    expect(refreshTokens.presented).toEqual([])

    const refreshToken = await connectOther()
    expect(await stored()).toEqual(before)
    await other.getNextcloudToken(ALICE)
    expect(refreshTokens.presented).toEqual([refreshToken])

    await other.revoke(ALICE)
    expect(await auth.isProvisioned(ALICE)).toBe(true)
    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens.at(-1))
  })

  it('do not hold up the renewals of each other', async () => {
    const { auth, other, connectOther, clock, refreshTokens } = await setUpTwo(first, second)
    await connectOther()

    const tokens = await Promise.all([auth.getNextcloudToken(ALICE), other.getNextcloudToken(ALICE)])

    expect(new Set(tokens).size).toBe(2)
    expect(clock.pauses).toEqual([])
    expect(refreshTokens.presented).toHaveLength(2)
  })
})

it('a slash at the end of the address of Nextcloud makes no other one', async () => {
  const [one, two] = ['https://one.example.com/nextcloud', 'https://one.example.com/nextcloud/']
  const { other } = await setUpTwo(nextcloud(one), nextcloud(two))

  expect(await other.isProvisioned(ALICE)).toBe(true)
})

describe('a grant that a version before 0.4 stored', () => {
  it('serves, is told of and ends as one of today does', async () => {
    const setup = await world({ mode: 'refresh-token', nextcloud: true })
    const { as, auth, grants, storage, refreshTokens, connect } = setup
    const identity = { issuer: as.issuer, subject: 'alice' }
    const former = formerKey('grant', grants.owner, identity.issuer, identity.subject)
    const moveBack = async () => {
      await connect()
      const { grant, version } = (await grants.store.find(identity))!
      const old = { ...grant, identity: undefined, owner: undefined, agreed: undefined }
      await grants.records.remove(grants.store.keyOf(identity), version)
      await grants.records.write(former, old, null)
    }

    await moveBack()
    expect(await auth.isProvisioned({ ...ALICE, clientId: 'mcp-client' })).toBe(true)
    await moveBack()
    expect(await auth.waitForConnection(ALICE, 1_000)).toBe(true)
    await moveBack()
    await auth.getNextcloudToken(ALICE)
    expect(refreshTokens.presented).toHaveLength(1)
    await auth.revoke(ALICE)
    await moveBack()
    await auth.revoke(ALICE)

    expect(await storage.get(former)).toBeUndefined()
    expect(await auth.isProvisioned(ALICE)).toBe(false)
  })
})

describe('a changed configuration', () => {
  it.each<[what: string, changed: McpAuthOptions]>([
    ['Nextcloud', { nextcloud: { url: 'https://two.example.com' } }],
    ['resource', { resource: 'https://mcp.example.com/other' }],
  ])('of another %s does not see the grant, and the former one finds it again', async (_what, changed) => {
    const { open, connect, stored } = await world({ mode: 'refresh-token' })
    await connect()
    const before = await stored()

    expect(await failureOf(open(changed).getNextcloudToken(ALICE))).toMatchObject({ reason: 'never' })

    expect(await stored()).toEqual(before)
    expect(await open().isProvisioned(ALICE)).toBe(true)
  })

  it.each<[what: string, changed: McpAuthOptions['nextcloud']]>([
    ['audience', { audience: 'other' }],
    ['resource of Nextcloud', { resource: 'https://api.example.com' }],
    ['scope set', { scopes: ['other'] }],
    ['parameter', { parameters: { tenant: 'other' } }],
  ])(
    'of another %s keeps the grant, and is served on no token that was asked for otherwise',
    async (_what, changed) => {
      const { open, connect, refreshTokens } = await world({ mode: 'refresh-token' })
      await connect()
      const [former, again] = [open(), open()]
      const first = await former.getNextcloudToken(ALICE)
      expect(await again.getNextcloudToken(ALICE)).toBe(first)

      const second = await open({ nextcloud: changed }).getNextcloudToken(ALICE)

      expect(second).not.toBe(first)
      expect(refreshTokens.presented).toHaveLength(2)
      expect(await open({ nextcloud: changed }).getNextcloudToken(ALICE)).toBe(second)
      expect(refreshTokens.presented).toHaveLength(2)
    },
  )

  it('is not served on such a token by the look at the grant of a cached one either', async () => {
    const { open, connect, clock, refreshTokens } = await world({ mode: 'refresh-token' })
    await connect()
    const [former, changed] = [open(), open({ nextcloud: { scopes: ['other'] } })]
    const first = await former.getNextcloudToken(ALICE)
    const second = await changed.getNextcloudToken(ALICE)
    clock.advance(10_000)

    const third = await former.getNextcloudToken(ALICE)

    expect(new Set([first, second, third]).size).toBe(3)
    expect(refreshTokens.presented).toHaveLength(3)
  })
})

describe('two Nextclouds with app passwords on one store', () => {
  it('each keep their own, through a connection and a disconnection of the other', async () => {
    const setup = await appPasswordWorld()
    await setup.connectAs('alice.w')
    const there = await startNextcloudAccounts(setup.clock.now)
    const moved = setup.open({ nextcloud: { url: there.url } })

    expect(await failureOf(moved.nextcloudFetch(ALICE, USER))).toMatchObject({ reason: 'never' })
    expect(await moved.revoke(ALICE)).toEqual({ revoked: false })

    expect(there.requests).toEqual([])
    expect((await setup.auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
  })
})
