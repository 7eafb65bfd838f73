import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { mkdtempSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import { createGrants } from '../../src/grants/open-grants.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { runIn, setUpDoctor, type DoctorSetup } from '../support/doctor-setup.js'
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

const urlOf = (address: StoreAddress): string => (address.kind === 'SQLite' ? `sqlite:${address.file}` : address.url)

/** A grant of somebody's, as an app with these keys stores it. */
async function storeGrant(setup: DoctorSetup, address: StoreAddress, encryptionKey: string): Promise<void> {
  const { adapter, close } = await openStore(address)
  const { issuer } = setup.as
  const config = readConfig(
    {
      issuer,
      resource: setup.resource,
      clientId: CLIENT_ID,
      clientSecret: 'x',
      storage: adapter,
      encryptionKey,
      nextcloud: { url: setup.nextcloud.url, ...REFRESH_TOKEN_MODE },
      onEvent: () => undefined,
    },
    {},
  )
  const events = createEvents(() => undefined, systemClock)
  const grants = createGrants({ config, grants: config.grants!, storage: adapter, clock: systemClock, events })
  const connection = { refreshToken: 'rt-canary-5Kq8Zp', fingerprint: 'f', clientId: 'mcp-client', scopes: [] }
  await grants.store.connect({ issuer, subject: randomBytes(8).toString('hex') }, connection)
  await close()
  setup.secrets.push(connection.refreshToken)
}

describe.each(storeKinds())('the doctor at a store in %s', (kind) => {
  it('finds a healthy set-up in refresh-token mode well, opens what is stored, and leaves nothing behind', async () => {
    const setup = await setUpGrantsDoctor()
    const address = await stores.address(kind)
    const key = setup.environment['TOKEN_ENCRYPTION_KEY']!
    if (kind === 'Redis') setup.options['storage-prefix'] = `${randomBytes(4).toString('hex')}*:`
    if (kind === 'Redis') await storeGrantIn(setup, address, setup.options['storage-prefix']!, key)
    else await storeGrant(setup, address, key)
    setup.options['storage'] = urlOf(address)
    const { status, failed, leftOut, finding } = await setup.run()

    expect({ status, failed, leftOut }).toEqual({
      status: 0,
      failed: [],
      leftOut: [
        'issuer.tls',
        'token.scopes',
        'pass-through.audience',
        'exchange.live',
        'exchange.audience',
        'exchange.issuer',
        'exchange.scopes',
        'exchange.life',
        'nextcloud.tls',
        'nextcloud.bearer',
        'nextcloud.cors',
        'public.tls',
      ],
    })
    expect(finding('storage.records')?.found).toMatch(/^\d+ of the records were looked at, and all open$/)
  })
})

/** The same in a Redis that others use too. */
async function storeGrantIn(setup: DoctorSetup, address: StoreAddress, prefix: string, key: string): Promise<void> {
  if (address.kind !== 'Redis') throw new Error('That is no Redis')
  await storeGrant(setup, { ...address, prefix }, key)
}

describe.runIf(has('better-sqlite3'))('the doctor at a file of SQLite', () => {
  it('finds records that were sealed with another key', async () => {
    const setup = await setUpGrantsDoctor()
    const address: StoreAddress = { kind: 'SQLite', file: path.join(folder, 'other-key.db') }
    await storeGrant(setup, address, newKey())
    setup.options['storage'] = urlOf(address)
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: 1, failed: ['storage.records'] })
    expect(finding('storage.records')?.found).toBe(
      '1 of 1 records that were looked at open with none of the keys given',
    )
    expect(finding('storage.records')?.fix).toMatch(/TOKEN_ENCRYPTION_KEY.*behind the new one/)
  })

  it('tells records that an older key opens', async () => {
    const setup = await setUpGrantsDoctor()
    const address: StoreAddress = { kind: 'SQLite', file: path.join(folder, 'older-key.db') }
    const older = newKey()
    await storeGrant(setup, address, older)
    setup.secrets.push(older)
    setup.environment['TOKEN_ENCRYPTION_KEY'] = `${setup.environment['TOKEN_ENCRYPTION_KEY']!}, ${older}`
    setup.options['storage'] = urlOf(address)
    const { failed, finding } = await setup.run()

    expect(failed).toEqual([])
    expect(finding('storage.records')?.found).toMatch(/1 of them with an older key/)
  })

  it('leaves nothing of its own in the store', async () => {
    const setup = await setUpGrantsDoctor()
    const address = { kind: 'SQLite', file: path.join(folder, 'left.db') } as const
    await storeGrant(setup, address, setup.environment['TOKEN_ENCRYPTION_KEY']!)
    setup.options['storage'] = urlOf(address)
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
    ['sqlite:./not/there.db', /there is no file .*not\/there\.db/],
  ])('finds a store that is away, without its password: %s', async (url, found) => {
    const setup = await setUpGrantsDoctor()
    setup.secrets.push('canary-PW-x93hdkQ2')
    setup.environment['DOCTOR_STORAGE'] = url
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: 1, failed: ['storage.access'] })
    expect(finding('storage.access')?.found).toMatch(found)
    expect(finding('storage.access')?.fix).toMatch(/check/)
    expect(finding('storage.seal')?.found).toBe('mend storage.access first')
  })

  it.each(['redis://127.0.0.1:1', 'postgres://127.0.0.1:1/db'])('says where a driver is missing: %s', async (url) => {
    const setup = await setUpGrantsDoctor()
    const { OIDC_CLIENT_SECRET, TOKEN_ENCRYPTION_KEY } = setup.environment
    const args = Object.entries(setup.options).flatMap(([name, value]) => [`--${name}`, value])
    const { output } = await runIn([...args, '--storage', url], {
      environment: { OIDC_CLIENT_SECRET, TOKEN_ENCRYPTION_KEY },
      directory: folder,
    })

    expect(output).toMatch(/✗ storage\.access: .*there is no (?:redis or ioredis|pg) in this project → .*npm install/)
  })

  it('finds a store without a key for it, by config', async () => {
    const setup = await setUpGrantsDoctor()
    delete setup.environment['TOKEN_ENCRYPTION_KEY']
    setup.options['storage'] = 'redis://127.0.0.1:1'
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: 1, failed: ['config'] })
    expect(finding('config')?.found).toMatch(/encryptionKey is required.*keygen/)
    expect(finding('config')?.fix).toMatch(/TOKEN_ENCRYPTION_KEY/)
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

describe('the doctor and the connect pages', () => {
  it('shows the redirect URI, and finds a provider that does not know it', async () => {
    const setup = await setUpGrantsDoctor()
    setup.as.script('/authorize', { status: 400, headers: { 'content-type': 'text/html' }, text: '<html>' })
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['connect.redirect-uri'])
    expect(finding('connect.redirect-uri')?.fix).toContain(
      `register ${new URL(setup.resource).origin}/nextcloud/callback, to the letter`,
    )
  })

  it('finds a provider that refuses the scopes', async () => {
    const setup = await setUpGrantsDoctor()
    setup.as.script('/authorize', (request, res) => {
      expect(request.method).toBe('GET')
      const location = `${new URL(setup.resource).origin}/nextcloud/callback?error=invalid_scope`
      res.writeHead(302, { location }).end()
    })
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['connect.redirect-uri'])
    expect(finding('connect.redirect-uri')?.found).toContain('invalid_scope')
  })

  it('says what a provider without offline_access means', async () => {
    const setup = await setUpGrantsDoctor()
    setup.as.metadata['scopes_supported'] = ['openid']
    const { status, finding } = await setup.run()

    expect(status).toBe(0)
    expect(finding('connect.offline-access')?.fix).toMatch(/refresh tokens without it/)
  })

  it('finds a proxy that does not pass the pages on', async () => {
    const setup = await setUpGrantsDoctor()
    setup.options['connect-path'] = '/elsewhere'
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['connect.page'])
    expect(finding('connect.page')?.fix).toMatch(/the proxy pass on \/elsewhere.*--connect-path/)
  })

  it('finds a provider without the grants that connecting needs', async () => {
    const setup = await setUpGrantsDoctor()
    setup.as.metadata['grant_types_supported'] = ['authorization_code']
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['grant.offered'])
    expect(finding('grant.offered')?.found).toMatch(/lacks refresh_token$/)
  })
})
