import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { setUpConnected } from './support/connected-user.js'
import { failureOf } from './support/promises.js'
import { holdTokenRequests } from './support/token-endpoint.js'
import { CLIENT_ID, CLIENT_SECRET } from './support/scripted-authorization-server.js'
import { world, type World } from './support/world.js'

let bed: World
beforeEach(async () => {
  bed = await world({ mode: 'none' })
})
afterEach(() => bed.close())

const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
const NEXTCLOUD = { url: 'https://cloud.example.com' }

describe('ready()', () => {
  it('rejects without a token endpoint if the mode asks for tokens there', async () => {
    delete bed.as.metadata['token_endpoint']

    await expect(bed.open({ ...CLIENT, nextcloud: NEXTCLOUD }).ready()).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
      option: 'authorizationServer.tokenEndpoint',
    })
    await expect(bed.open({ nextcloud: { ...NEXTCLOUD, mode: 'pass-through' } }).ready()).resolves.toBeUndefined()
  })
})

describe('close()', () => {
  it('waits no longer than http.timeout for work under way', async () => {
    const never = vi.fn(() => new Promise<never>(() => undefined))
    const storage = { shared: true, get: never, put: never, delete: never }
    const encryptionKey = randomBytes(32).toString('base64url')
    const auth = bed.open({ ...CLIENT, nextcloud: NEXTCLOUD, storage, encryptionKey, http: { timeout: 50 } })
    const failure = auth.getNextcloudToken({ subject: 'alice' }).catch((error: unknown) => error)
    await vi.waitFor(() => expect(never).toHaveBeenCalled())

    // The clock stands still, so the store has no deadline of its own.
    await auth.close()

    bed.clock.advance(60_000)
    expect(await failure).toMatchObject({ code: 'ERR_STORAGE' })
  })

  it('stores a new refresh token that the store would not take, also if a request takes longer than there is time', async () => {
    const { auth, as, clock, connect, events, failing, refreshTokens, stored } = await setUpConnected(
      {},
      { http: { timeout: 2_000, retries: 0 } },
    )
    await connect('bob')
    as.script('/token', (request, res) => {
      failing.add('put')
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(JSON.stringify(refreshTokens.process(request.form).json))
    })
    expect(await failureOf(auth.getNextcloudToken({ subject: 'alice' }))).toMatchObject({ code: 'ERR_STORAGE' })
    expect(events.filter(({ type }) => type === 'grant.rotated')).toEqual([])
    failing.clear()
    const held = holdTokenRequests(as)
    const hangs = auth.getNextcloudToken({ subject: 'bob' }).catch((error: unknown) => error)
    await held.arrival()

    await auth.close()

    expect(await stored()).toMatchObject({ state: 'active', accessToken: { token: refreshTokens.accessTokens[0] } })
    expect(events.filter(({ type }) => type === 'grant.rotated')).toEqual([
      expect.objectContaining({ subject: 'alice', issuer: as.issuer }),
    ])
    clock.advance(60_000)
    expect(await hangs).toBeInstanceOf(Error)
  })
})
