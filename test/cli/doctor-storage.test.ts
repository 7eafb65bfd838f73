import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { hash, randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createClient } from 'redis'
import { afterAll, describe, expect, it, vi } from 'vitest'
import type { Finding } from '../../src/cli/doctor/check.js'
import { systemClock } from '../../src/clock.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import { createGrants } from '../../src/grants/open-grants.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { setUpDoctor, startProvider, type DoctorSetup } from '../support/doctor-setup.js'
import { has } from '../support/left-out.js'
import { CLIENT_ID } from '../support/scripted-authorization-server.js'
import { createRealStores, storeKinds } from '../support/scene.js'
import { openStore, type StoreAddress } from '../support/stores.js'

const stores = createRealStores()
const folder = mkdtempSync(path.join(tmpdir(), 'doctor-'))
afterAll(() => {
  stores.remove()
  rmSync(folder, { recursive: true, force: true })
})

const newKey = () => randomBytes(32).toString('base64url')
const REFRESH_TOKEN_MODE = { mode: 'refresh-token' } as const

/** A healthy set-up in refresh-token mode. */
async function setUpGrantsDoctor(): Promise<DoctorSetup> {
  const url = 'https://cloud.example.com'
  const setup = await setUpDoctor({ storage: new MemoryStorage(), nextcloud: { url, ...REFRESH_TOKEN_MODE } })
  Object.assign(setup.options, REFRESH_TOKEN_MODE)
  const key = newKey()
  setup.environment['TOKEN_ENCRYPTION_KEY'] = key
  setup.secrets.push(key)
  return setup
}

/** A grant of a user, as an app with these keys stores it. */
async function storeGrant(setup: DoctorSetup, address: StoreAddress, encryptionKey: string): Promise<void> {
  setup.options['storage'] = address.kind === 'SQLite' ? `sqlite:${address.file}` : address.url
  const { adapter: storage, close } = await openStore(address)
  const { issuer } = setup.as
  const nextcloud = { url: setup.nextcloud.url, ...REFRESH_TOKEN_MODE }
  const client = { clientId: CLIENT_ID, clientSecret: 'x' }
  const config = readConfig({ issuer, resource: setup.resource, ...client, storage, encryptionKey, nextcloud }, {})
  const events = createEvents(() => undefined, systemClock)
  const grants = createGrants({ config, grants: config.grants!, storage, clock: systemClock, events })
  const connection = { refreshToken: 'rt-canary-5Kq8Zp', fingerprint: 'f', clientId: 'mcp-client', scopes: [] }
  await grants.store.connect({ issuer, subject: randomBytes(8).toString('hex') }, connection)
  await close()
  setup.secrets.push(connection.refreshToken, encryptionKey)
}

describe.each(storeKinds())('the doctor at a store in %s', (kind) => {
  it('finds a healthy set-up in refresh-token mode well, opens what is stored, and leaves nothing behind', async () => {
    const setup = await setUpGrantsDoctor()
    const address = await stores.address(kind)
    // A Redis may be one that others use too.
    const prefix = `${randomBytes(4).toString('hex')}*:`
    if (kind === 'Redis') setup.options['storage-prefix'] = prefix
    await storeGrant(
      setup,
      { ...address, ...(kind === 'Redis' && { prefix }) },
      setup.environment['TOKEN_ENCRYPTION_KEY']!,
    )
    setup.as.script('/authorize', { status: 200 }, { status: 400 })
    const { status, failed, leftOut, finding } = await setup.run()

    expect({ status, failed, leftOut }).toEqual({
      status: 0,
      failed: [],
      leftOut: [
        'nextcloud.tls',
        'issuer.tls',
        'token.scopes',
        'pass-through.audience',
        'exchange.live',
        'exchange.audience',
        'exchange.issuer',
        'exchange.scopes',
        'exchange.life',
        'nextcloud.bearer',
        'nextcloud.account',
        'nextcloud.cors',
        'nextcloud.dav',
        'nextcloud.login-flow',
        'public.tls',
        'clients.scopes',
        'clients.mcp-2025-03-26',
      ],
    })
    expect(finding('storage.records')?.found).toMatch(/^\d+ of the records were looked at, and all open$/)
  })
})

/** Puts keys of something else into a Redis, for as long as a test may take. */
async function fill(url: string, count: number): Promise<void> {
  const client = createClient({ url })
  await client.connect()
  const keys = Array.from({ length: count }, () => `else:${randomBytes(8).toString('hex')}`)
  for (let at = 0; at < count; at += 1000) {
    const multi = client.multi()
    for (const key of keys.slice(at, at + 1000)) multi.set(key, '', { PX: 60_000 })
    await multi.exec()
  }
  client.destroy()
}

describe.runIf(has('Redis'))('the doctor at a Redis', () => {
  it('opens what is stored by ioredis as well, among much else that Redis holds', async () => {
    const setup = await setUpGrantsDoctor()
    const address = await stores.address('Redis')
    const prefix = `${randomBytes(4).toString('hex')}:`
    setup.options['storage-prefix'] = prefix
    await storeGrant(setup, { ...address, prefix } as StoreAddress, setup.environment['TOKEN_ENCRYPTION_KEY']!)
    const driver = createRequire(import.meta.url).resolve('ioredis')
    const directory = projectWith('ioredis', `module.exports = require(${JSON.stringify(driver)})`)
    await fill((address as { url: string }).url, 12_000)
    const { finding } = await setup.run([], { directory })

    expect(finding('storage.records')?.found).toBe('1 of the records were looked at, and all open')
  })
})

describe.runIf(has('better-sqlite3'))('the doctor at a file of SQLite', () => {
  it.each([
    [
      'another key',
      1,
      '1 of 1 records that were looked at open with none of the keys given',
      /TOKEN_ENCRYPTION_KEY.*behind the new one/,
    ],
    [
      'an older key',
      0,
      '1 of the records were looked at, and all open, 1 of them with another key than the first, which must stay in the list; a new key goes to every process as old,new first, then as new,old, then alone',
      /^$/,
    ],
  ])('tells records that were sealed with %s', async (name, wrong, found, fix) => {
    const setup = await setUpGrantsDoctor()
    const sealedWith = newKey()
    await storeGrant(setup, { kind: 'SQLite', file: path.join(folder, `${name}.db`) }, sealedWith)
    if (wrong === 0) setup.environment['TOKEN_ENCRYPTION_KEY'] = `${newKey()}, ${sealedWith}`
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: wrong, failed: wrong === 0 ? [] : ['storage.records'] })
    expect(finding('storage.records')?.found).toBe(found)
    expect(finding('storage.records')?.fix ?? '').toMatch(fix)
  })

  it('looks at the store in which instances share exchanged tokens, and goes on without it', async () => {
    const setup = await setUpDoctor()
    setup.options['mode'] = 'token-exchange'
    const found = (outcome: Awaited<ReturnType<DoctorSetup['run']>>) =>
      ['storage.access', 'storage.seal', 'storage.records'].map((id) => outcome.finding(id)?.found)
    const none = 'no store is given, which token-exchange mode can do without: if the app has one, name it by --storage'
    expect(found(await setup.run())).toEqual([none, none, none])

    const [file, key] = [path.join(folder, 'shared.db'), newKey()]
    await storeGrant(setup, { kind: 'SQLite', file }, key)
    setup.environment['TOKEN_ENCRYPTION_KEY'] = key
    expect(found(await setup.run())).toEqual([
      expect.stringMatching(/: written, read and deleted$/),
      'what the first key seals opens again',
      '1 of the records were looked at, and all open',
    ])

    setup.environment['TOKEN_ENCRYPTION_KEY'] = newKey()
    const other = await setup.run()
    expect(other.failed).toEqual(['storage.records'])
    expect(other.finding('storage.records')?.fix).toMatch(/hold the same keys in every instance .*no user has to do/)
    expect(other.finding('nextcloud.bearer')?.status).toBe('passed')
  })

  it('leaves nothing of its own in the store', async () => {
    const setup = await setUpGrantsDoctor()
    const address = { kind: 'SQLite', file: path.join(folder, 'left.db') } as const
    await storeGrant(setup, address, setup.environment['TOKEN_ENCRYPTION_KEY']!)
    await setup.run()
    const database = new Database!(address.file)
    const rows = database.prepare('SELECT key FROM mcp_nextcloud_auth').all() as { key: string }[]
    database.close()

    expect(rows.map(({ key }) => key)).toEqual([expect.stringMatching(/^v1:/)])
  })
})

describe('the doctor at a store', () => {
  it('shows no password of a store, even where something else is called the same', async () => {
    const setup = await setUpGrantsDoctor()
    setup.environment['DOCTOR_STORAGE'] = 'redis://:localhost@localhost:1'
    const { finding } = await setup.run()

    expect(finding('storage.access')?.found).toMatch(/^Redis at …:1 cannot be used/)
  })

  it.each([
    ['redis://user:canary-PW-x93hdkQ2@127.0.0.1:1', /Redis at 127\.0\.0\.1:1 cannot be used \(ECONNREFUSED\)/],
    [
      'postgres://user:canary-PW-x93hdkQ2@127.0.0.1:1/db',
      /PostgreSQL at 127\.0\.0\.1:1 cannot be used \(ECONNREFUSED\)/,
    ],
    ['mysql://user:canary-PW-x93hdkQ2@127.0.0.1:1/db', /MySQL at 127\.0\.0\.1:1 cannot be used \(ECONNREFUSED\)/],
    ['mariadb://user:canary-PW-x93hdkQ2@127.0.0.1:1/db', /MariaDB at 127\.0\.0\.1:1 cannot be used \(ECONNREFUSED\)/],
    ['"redis://user:canary-PW-x93hdkQ2@127.0.0.1:1"', /Redis at 127\.0\.0\.1:1 cannot be used \(ECONNREFUSED\)/],
    ['sqlite:./not/there.db', /there is no file .*not\/there\.db/],
  ])('finds a store that is unavailable, without its password: %s', async (url, found) => {
    const setup = await setUpGrantsDoctor()
    setup.secrets.push('canary-PW-x93hdkQ2')
    setup.environment['DOCTOR_STORAGE'] = url
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: 1, failed: ['storage.access'] })
    expect(finding('storage.access')?.found).toMatch(found)
    expect(finding('storage.access')?.fix).toMatch(/check/)
    expect(finding('storage.seal')?.found).toBe('mend storage.access first')
  })

  it.each(['redis://127.0.0.1:1', 'postgres://127.0.0.1:1/db', 'mysql://127.0.0.1:1/db'])(
    'says if a driver is missing: %s',
    async (url) => {
      const finding = await lookFrom(folder, url)

      expect(finding?.found).toMatch(/there is no (?:redis or ioredis|pg|mysql2) in this project$/)
      expect(finding?.fix).toMatch(/npm install/)
    },
  )

  it('closes a store that it has opened', async () => {
    const ended = vi.fn()
    Object.assign(globalThis, { ended })
    const pool = 'class { on() {} query() { throw { code: "28P01" } } end() { globalThis.ended() } }'
    const finding = await lookFrom(projectWith('pg', `exports.Pool = ${pool}`), 'postgres://127.0.0.1:1/db')

    expect(finding?.found).toMatch(/\(28P01\)$/)
    expect(ended).toHaveBeenCalledOnce()
  })

  it('finds a key of another form, and shows nothing of it', async () => {
    const setup = await setUpGrantsDoctor()
    setup.environment['TOKEN_ENCRYPTION_KEY'] = 'canary-too-short-Jw7q'
    setup.secrets.push('canary-too-short-Jw7q')
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['config'])
    expect(finding('config')?.found).toMatch(/TOKEN_ENCRYPTION_KEY\) must be 32 bytes/)
  })
})

/** What the doctor finds of a store with the drivers of another project. */
async function lookFrom(directory: string, url: string): Promise<Finding | undefined> {
  const setup = await setUpGrantsDoctor()
  setup.options['storage'] = url
  return (await setup.run([], { directory })).finding('storage.access')
}

/** A project that has one driver. */
function projectWith(driver: string, source: string): string {
  const project = path.join(folder, driver)
  mkdirSync(path.join(project, 'node_modules', driver), { recursive: true })
  writeFileSync(path.join(project, 'node_modules', driver, 'index.js'), source)
  return project
}

describe('the doctor and the connect pages', () => {
  it.each<[name: string, id: string, plant: (setup: DoctorSetup) => unknown, says: RegExp]>([
    [
      'a provider that does not know the redirect URI',
      'connect.redirect-uri',
      ({ as }) => as.script('/authorize', { status: 400, headers: { 'content-type': 'text/html' }, text: '<html>' }),
      /400, an HTML page → register http:\/\/127\.0\.0\.1:\d+\/nextcloud\/callback, to the letter/,
    ],
    [
      'a provider that refuses the scopes',
      'connect.redirect-uri',
      ({ as, resource }) => {
        const location = `${new URL(resource).origin}/nextcloud/callback?error=invalid_scope`
        as.script('/authorize', { status: 302, headers: { location } })
      },
      /invalid_scope.* → .*--connect-scopes/,
    ],
    [
      'a proxy that does not pass the pages on',
      'connect.page',
      ({ options }) => (options['connect-path'] = '/elsewhere'),
      / → .*the proxy pass on \/elsewhere.*--connect-path/,
    ],
    [
      'a provider without the grants that connecting needs',
      'grant.offered',
      ({ as }) => (as.metadata['grant_types_supported'] = ['authorization_code']),
      /lacks refresh_token → /,
    ],
  ])('finds %s, by %s', async (_name, id, plant, says) => {
    const setup = await setUpGrantsDoctor()
    await plant(setup)
    const { failed, finding } = await setup.run()

    expect(failed).toEqual([id])
    expect(`${finding(id)?.found ?? ''} → ${finding(id)?.fix ?? ''}`).toMatch(says)
  })

  it('does not take a provider at its word that takes any redirect URI before the sign-in', async () => {
    const setup = await setUpGrantsDoctor()
    setup.as.script('/authorize', { status: 302, headers: { location: '/login' } }, { status: 302 })
    const { leftOut, finding } = await setup.run()

    expect(leftOut).toContain('connect.redirect-uri')
    expect(finding('connect.redirect-uri')?.found).toMatch(/judges redirect URIs only after the sign-in/)
  })

  it.each<[name: string, known: readonly ('shared' | 'own')[], says: RegExp]>([
    ['knows neither', [], /^failed: .*400.* → register http\S+\/nextcloud\/callback\/[\da-f]{16}, to the letter/],
    [
      'knows that of the first',
      ['shared'],
      /^failed: .*400.* → register http\S+\/nextcloud\/callback\/[\da-f]{16}, to/,
    ],
    ['knows both', ['shared', 'own'], /^failed: .*is of another issuer.* → let http\S+\/[\da-f]{16} be the only/],
    ['knows its own', ['own'], /^passed: the provider takes http\S+\/nextcloud\/callback\/[\da-f]{16} → $/],
  ])('says which redirect URI an issuer after the first has that does not name itself: it %s', async (...row) => {
    const [, known, says] = row
    const setup = await setUpGrantsDoctor()
    const second = await startProvider()
    const shared = `${new URL(setup.resource).origin}/nextcloud/callback`
    const uris = { shared, own: `${shared}/${hash('sha256', second.issuer).slice(0, 16)}` }
    second.script('/authorize', ({ query }, res) => {
      const isKnown = known.some((name) => uris[name] === query.get('redirect_uri'))
      res.writeHead(isKnown ? 302 : 400, isKnown ? { location: '/login' } : {}).end()
    })
    const { findings } = await setup.run(['--issuer', second.issuer])

    const about = findings.find(({ id, issuer }) => id === 'connect.redirect-uri' && issuer === second.issuer)
    expect(`${about?.status ?? ''}: ${about?.found ?? ''} → ${about?.fix ?? ''}`).toMatch(says)
  })

  it('says what a provider without offline_access means', async () => {
    const setup = await setUpGrantsDoctor()
    setup.as.metadata['scopes_supported'] = ['openid']
    const { status, finding } = await setup.run()

    expect(status).toBe(0)
    expect(finding('connect.offline-access')?.fix).toMatch(/refresh tokens without it/)
  })
})
