import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { appPasswordWorld, type AppPasswordWorld } from '../support/login-visits.js'

const USER = '/ocs/v2.php/cloud/user?format=json'
const [ALICE, MALLORY] = [{ subject: 'alice' }, { subject: 'mallory' }]

/** Alice and mallory have connected. */
async function setUp(surroundings: Parameters<typeof appPasswordWorld>[0] = {}) {
  const made = await appPasswordWorld(surroundings)
  await made.connectAs('mallory.nc', undefined, 'mallory')
  await made.connectAs('alice.nc', undefined, 'alice')
  return made
}

/** Mallory ends his app passwords at Nextcloud (Security, Devices & sessions). */
function endOf({ nextcloud: { state } }: AppPasswordWorld): void {
  state.tokens.splice(0, state.tokens.length, ...state.tokens.filter(({ uid }) => uid !== 'mallory.nc'))
}

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => (error as { code?: string }).code,
  )

type Call = (setup: AppPasswordWorld) => Promise<unknown>
const call: Call = ({ auth }) => codeOf(auth.nextcloudFetch(MALLORY, USER))
const CALLS: readonly (readonly [string, Call])[] = [
  ['GET', call],
  [
    'PUT of a stream',
    ({ auth }) => codeOf(auth.nextcloudFetch(MALLORY, USER, { method: 'PUT', body: Readable.from(['a note']) })),
  ],
  [
    'PROPFIND of WebDAV',
    ({ auth }) => codeOf(auth.nextcloudFetch(MALLORY, '/remote.php/dav/files/mallory.nc/', { method: 'PROPFIND' })),
  ],
  ['a look at the user', ({ auth }) => codeOf(auth.nextcloudUser(MALLORY))],
]

const atOnce = (setup: AppPasswordWorld, one: Call): Promise<unknown[]> =>
  Promise.all(Array.from({ length: 16 }, () => one(setup)))

describe('one user with a dead app password and sixteen calls at once', () => {
  it.each(CALLS)('costs Nextcloud one wrong sign-in, if nothing was known of it: %s', async (_, one) => {
    const setup = await setUp()
    endOf(setup)

    expect(new Set(await atOnce(setup, one))).toEqual(new Set(['ERR_NOT_PROVISIONED']))

    expect(setup.nextcloud.state.attempts).toHaveLength(1)
    expect((await setup.auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
  })

  it('costs three at most, if it has just been good', async () => {
    const setup = await setUp()
    expect(await call(setup)).toBeUndefined()
    endOf(setup)

    expect(new Set(await atOnce(setup, call))).toEqual(new Set(['ERR_NOT_PROVISIONED']))

    expect(setup.nextcloud.state.attempts.length).toBeLessThanOrEqual(3)
    expect((await setup.auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
  })
})
