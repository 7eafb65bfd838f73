import { beforeEach, describe, expect, it } from 'vitest'
import { moveDeletions, type Move, type Place } from '../../../src/cli/grants/move-deletions.js'
import type { Credential } from '../../../src/grants/grant.js'
import { createPendingDeletions, type PendingDeletion } from '../../../src/grants/pending-deletions.js'
import { ALICE, opened, OWNER } from '../../grants/opened.js'
import { appPasswordWorld } from '../../support/login-visits.js'
import { until } from '../../support/promises.js'

const FROM: Place = { owner: OWNER, issuer: ALICE.issuer }
const appPassword = (nextcloud: string): Credential => ({
  appPassword: { loginName: 'alice', password: 'x', nextcloud },
})

describe('a move', () => {
  let { clock, records } = opened()
  beforeEach(() => ({ clock, records } = opened()))

  const listOf = ({ owner }: Place) => createPendingDeletions({ records, owner, clock, givenUp: () => undefined })
  const deletion = (id: string, credential: Credential, issuer = ALICE.issuer): PendingDeletion => ({
    ...{ id, credential, identity: { issuer, subject: 'alice' } },
    ...{ since: clock.now(), tries: 3, nextAt: clock.now() + 1_000, refused: false },
  })
  async function move(to: Place, more: Partial<Move> = {}) {
    const endings: string[] = []
    const how = { records, from: FROM, to, isBound: false, isRehearsal: false, ...more }
    await moveDeletions(how, clock, (ending) => endings.push(ending))
    return endings.sort()
  }

  it('takes along what must end elsewhere, as it is, and leaves that of another issuer', async () => {
    const to = { ...FROM, owner: { ...OWNER, resource: 'https://new.example.com/mcp' } }
    const password = deletion('one', appPassword(OWNER.nextcloud))
    const token = deletion('two', { refreshToken: 'two' })
    const other = deletion('three', appPassword(OWNER.nextcloud), 'https://other.example.com')
    for (const each of [password, token, other]) await listOf(FROM).put(each)

    expect(await move(to, { isRehearsal: true })).toEqual(['ending', 'ending'])
    expect(await listOf(to).list()).toEqual([])
    expect(await move(to)).toEqual(['ending', 'ending'])

    expect(await listOf(to).list()).toEqual([password, token])
    expect(await listOf(FROM).list()).toEqual([other])
    expect(await move(to)).toEqual([])
  })

  it('names the new address of the same Nextcloud and the new issuer, and leaves alone what another Nextcloud gave', async () => {
    const nextcloud = 'https://new.example.com/'
    const to = { owner: { ...OWNER, nextcloud }, issuer: 'https://new-idp.example.com' }
    await listOf(FROM).put(deletion('one', appPassword(OWNER.nextcloud)))
    await listOf(FROM).put(deletion('two', appPassword('https://before.example.com/')))
    await move(to, { isBound: true })

    const identity = { issuer: to.issuer, subject: 'alice' }
    expect(await listOf(to).list()).toMatchObject([
      { identity, credential: appPassword(nextcloud) },
      { identity, credential: appPassword('https://before.example.com/') },
    ])
  })

  it('leaves refresh tokens of another client or issuer', async () => {
    const to = { ...FROM, owner: { ...OWNER, clientId: 'new' } }
    await listOf(FROM).put(deletion('one', { refreshToken: 'one' }))

    expect(await move(to, { isBound: true })).toEqual(['endingBound'])
    expect(await listOf(to).list()).toEqual([])
    expect(await listOf(FROM).list()).toHaveLength(1)
  })

  it('tells of one that makes way for another of its user', async () => {
    const to = { ...FROM, owner: { ...OWNER, resource: 'https://new.example.com/mcp' } }
    for (let at = 0; at < 16; at += 1) await listOf(to).put(deletion(`there ${at}`, { refreshToken: `there ${at}` }))
    await listOf(FROM).put(deletion('one', appPassword(OWNER.nextcloud)))

    expect(await move(to)).toEqual(['ending', 'endingGivenUp'])
  })
})

it('an app password that could not be deleted before a move is deleted after it', async () => {
  const { as, auth, clock, connectAs, grants, nextcloud, open, happened } = await appPasswordWorld()
  await connectAs('alice')
  nextcloud.disturb(({ method }) => (method === 'DELETE' ? 503 : undefined))
  expect(await auth.revoke({ subject: 'alice' })).toEqual({ revoked: 'pending' })
  await auth.close()
  nextcloud.disturb(undefined)
  const resource = 'https://new.example.com/mcp'
  const { owner, records } = grants
  const from = { owner, issuer: as.issuer }

  const to = { owner: { ...owner, resource }, issuer: as.issuer }
  await moveDeletions({ records, from, to, isBound: false, isRehearsal: false }, clock, () => undefined)
  await open({ resource }).ready()

  await until(() => nextcloud.appPasswords.length === 0)
  await happened('grant.revoked', 2)
})
