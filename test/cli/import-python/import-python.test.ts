import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ROOT } from '../../support/command.js'
import { argumentsOf } from '../../support/doctor-setup.js'
import { ENCRYPTION_KEY } from '../../support/grant-constants.js'
import { has } from '../../support/left-out.js'
import { counts, fileOf, importWorld, keyFile, newFile, runImport } from '../../support/import-python.js'
import { addAccount } from '../../support/nextcloud/state.js'
import {
  LOST_PYTHON_KEY,
  makePythonDatabase,
  makePythonFile,
  PYTHON_CLIENT,
  PYTHON_KEY,
} from '../../support/python-server.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from '../../support/scripted-authorization-server.js'
import { openStore } from '../../support/stores.js'
import { world } from '../../support/world.js'

const SOURCES = [
  ...(has('better-sqlite3') ? [['SQLite', () => Promise.resolve(makePythonFile(newFile()))] as const] : []),
  ...(has('better-sqlite3', 'PostgreSQL') ? [['PostgreSQL', () => makePythonDatabase()] as const] : []),
]

describe.each(SOURCES)('import-python from %s', (_kind, make) => {
  it('lets the tools of its users work without a sign-in, and changes nothing the second time', async () => {
    const setup = await importWorld()
    const source = await make()

    expect(await setup.act('alice')).toBe('never')
    const first = await setup.import(source)
    expect([first.status, counts(first)]).toEqual([
      0,
      {
        imported: 3,
        'restricted to scopes by the user': 2,
        'of no user': 1,
        'not opened by the key': 2,
        expired: 1,
        'for the Python server itself': 1,
        'of no use in this mode': 2,
      },
    ])
    expect(first.output).toMatch(/^Nextcloud is asked whose account each app password opens: by sub$/m)
    // The login name is not the user id; there is no login name.
    for (const user of ['alice', 'bob', 'carol']) expect(await setup.act(user)).toBe(user)
    for (const user of ['dora', 'ed', 'frank', 'unknown', 'gina']) expect(await setup.act(user)).toBe('never')
    expect(await setup.act('alice', 'another-client')).toBe('consent')

    const database = new Database!(setup.options.storage.slice('sqlite:'.length))
    onTestFinished(() => void database.close())
    const all = () => database.prepare('SELECT * FROM mcp_nextcloud_auth ORDER BY key').all()
    const before = all()
    const second = await setup.import(source)
    expect([second.status, counts(second)['connected already'], counts(second)['imported']]).toEqual([0, 3, undefined])
    expect(all()).toEqual(before)
  })
})

describe.runIf(has('better-sqlite3'))('import-python', () => {
  it('writes nothing in a rehearsal, not even a file', async () => {
    const setup = await importWorld()
    const file = newFile()
    const { status, output } = await setup.import(makePythonFile(newFile()), { storage: file }, {}, ['--dry-run'])

    expect([status, /^ +3 {2}imported$/m.test(output), output.trimEnd().split('\n').at(-1)]).toEqual([
      0,
      true,
      'Nothing was written: --dry-run',
    ])
    expect(statSync(file, { throwIfNoEntry: false })).toBeUndefined()
    const again = await setup.import(makePythonFile(newFile()), {}, {}, ['--dry-run'])
    expect(again.status).toBe(0)
    expect(await setup.act('alice')).toBe('never')
  })

  it('leaves the store of the Python server as it is', async () => {
    const setup = await importWorld()
    const file = makePythonFile(newFile())
    const before = readFileSync(file)
    await setup.import(file)

    expect(readFileSync(file).equals(before)).toBe(true)
  })

  it('makes the file of a store that the app has not made yet, for its owner alone', async () => {
    const setup = await importWorld()
    const file = newFile()
    expect((await setup.import(makePythonFile(newFile()), { storage: file })).status).toBe(0)

    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('keeps who is connected already, and who has ended the connection', async () => {
    const setup = await importWorld()
    addAccount(setup.nextcloud.state, 'alice.new')
    await setup.connectAs('alice.new', setup.browser(), 'alice')
    await setup.connectAs('bob', setup.browser(), 'bob')
    await setup.auth.revoke({ subject: 'bob' })
    const ran = await setup.import(makePythonFile(newFile()))

    expect(counts(ran)).toMatchObject({
      imported: 1,
      'connected already': 1,
      'ended here since, or of another mode': 1,
    })
    expect(await setup.act('alice')).toBe('alice.new')
    expect(await setup.act('bob')).toBe('revoked')
  })

  it('never widens what a user restricted unless it is told to, and says whose restriction ends', async () => {
    const setup = await importWorld()
    const source = makePythonFile(newFile())
    const left = await setup.import(source)
    expect(left.output).toMatch(/^Restricted: dora \(notes\.read\)\nRestricted: ed \(none\)$/m)
    const taken = await setup.import(source, { restricted: 'import' })

    expect(counts(taken)).toMatchObject({
      "imported without the user's own restriction to scopes": 2,
      'connected already': 3,
    })
    expect(taken.output).toMatch(/^Restricted: dora \(notes\.read\)\nRestricted: ed \(none\)$/m)
    expect(await setup.act('dora')).toBe('dora')
  })

  it('takes a restriction that it cannot read for one', async () => {
    const setup = await importWorld()
    const source = makePythonFile(newFile(), `UPDATE app_passwords SET scopes = '[notes' WHERE user_id = 'alice';`)

    expect((await setup.import(source)).output).toMatch(/^Restricted: alice \(unreadable\)$/m)
    expect(await setup.act('alice')).toBe('never')
  })

  it('serves every MCP client where it is told to, and one that is ended ends no other', async () => {
    const setup = await importWorld()
    await setup.import(makePythonFile(newFile()), { clients: 'any' })

    expect([await setup.act('alice', 'one'), await setup.act('alice', 'two')]).toEqual(['alice', 'alice'])
    expect((await setup.askWith('/nextcloud/disconnect', 'POST', { sub: 'alice', client_id: 'one' })).status).toBe(200)
    expect([await setup.act('alice', 'one'), await setup.act('alice', 'two')]).toEqual(['consent', 'alice'])
    expect(await setup.act('bob', 'three')).toBe('bob')
  })

  it('serves each client of a list', async () => {
    const setup = await importWorld()
    await setup.import(makePythonFile(newFile()), { clients: 'one, two' })

    expect([await setup.act('alice', 'one'), await setup.act('alice', 'two'), await setup.act('alice', '*')]).toEqual([
      'alice',
      'alice',
      'consent',
    ])
  })

  it('opens with each key of a list, and with the variable where there is no file', async () => {
    const setup = await importWorld()
    const source = makePythonFile(newFile())
    const both = await setup.import(source, { 'key-file': keyFile(LOST_PYTHON_KEY, PYTHON_KEY) }, {}, ['--dry-run'])
    expect(counts(both)).toMatchObject({ imported: 3, 'refused by Nextcloud': 1, 'not opened by the key': 1 })

    const options = Object.fromEntries(Object.entries(setup.options).filter(([name]) => name !== 'key-file'))
    const environment = { TOKEN_ENCRYPTION_KEY: `${ENCRYPTION_KEY},${PYTHON_KEY}` }
    expect(counts(await runImport([source, ...argumentsOf(options)], { environment }))).toMatchObject({ imported: 3 })
    expect(await setup.act('bob')).toBe('bob')
  })

  it('says that the key is wrong when it opens nothing, and writes nothing', async () => {
    const setup = await importWorld()
    const ran = await setup.import(makePythonFile(newFile()), { 'key-file': keyFile(ENCRYPTION_KEY) })

    expect([ran.status, ran.complaint]).toEqual([
      1,
      expect.stringMatching(/^mcp-nextcloud-auth import-python: wrong key: it opens nothing in SQLite in .*\n$/),
    ])
    expect(await setup.act('alice')).toBe('never')
  })

  it('has nothing to do at a store without rows, whatever the key', async () => {
    const setup = await importWorld()
    const sql = 'DELETE FROM app_passwords; DELETE FROM refresh_tokens;'
    const ran = await setup.import(makePythonFile(newFile(), sql), { 'key-file': keyFile(ENCRYPTION_KEY) })

    expect([ran.status, counts(ran)]).toEqual([0, {}])
  })

  it('leaves a login name that no request can carry', async () => {
    const setup = await importWorld()
    const ran = await setup.import(
      makePythonFile(newFile(), `UPDATE app_passwords SET username = 'a:b' WHERE user_id = 'alice';`),
    )

    expect(counts(ran)).toMatchObject({ imported: 2, 'not of a form that can be sent': 1 })
  })

  it.each<[why: string, change: object, says: RegExp, status: number]>([
    ['no clients', { clients: '' }, /--clients is missing: /, 2],
    ['any among others', { clients: 'a,any' }, /--clients is a list of ids, or any alone/, 2],
    ['a client that would stand for any', { clients: '*' }, /--clients is a list of ids, or any alone/, 2],
    ['another word for restrictions', { restricted: 'narrow' }, /--restricted is skip or import/, 2],
    ['a key file that is not there', { 'key-file': './not/there' }, /--key-file cannot be read/, 2],
    [
      'a mode that stores nothing',
      { mode: 'token-exchange', 'client-secret-file': fileOf(CLIENT_SECRET) },
      /^[^:]*: token-exchange mode stores no connections: set /,
      1,
    ],
    ['no mode', { mode: undefined, 'nextcloud-url': undefined }, /this mode stores no connections: set /, 1],
    ['no issuer', { issuer: undefined, 'discovery-url': 'https://idp.example.com/meta' }, /the issuer is missing: /, 2],
    ['no store of its own', { storage: undefined }, /the store is missing: name it by /, 2],
    ['no clients at all', { clients: undefined }, /--clients is missing: /, 2],
    ['a resource that is no URL', { resource: 'mcp' }, /resource.*; set it by /, 1],
    ['a store that is unavailable', { storage: 'postgres://u:secret-pw-canary@127.0.0.1:1/db' }, /ECONNREFUSED/, 1],
  ])('refuses %s', async (_why, change, says, status) => {
    const setup = await importWorld()
    const ran = await setup.import(makePythonFile(newFile()), change)

    expect([ran.status, ran.complaint]).toEqual([status, expect.stringMatching(says)])
    expect(ran.output).toBe('')
  })

  it('asks for the key of the Python server where neither a file nor the environment has one', async () => {
    const setup = await importWorld()
    for (const [change, environment] of [
      [{ 'key-file': undefined }, {}],
      [{ 'key-file': fileOf(' \n') }, { TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY }],
    ] as const) {
      const ran = await setup.import(makePythonFile(newFile()), change, { environment })
      expect([ran.status, ran.complaint]).toEqual([
        2,
        expect.stringContaining('the key of the Python server is missing'),
      ])
    }
  })

  it('says what to do where there is no such store', async () => {
    const ran = await (await importWorld()).import('./not-there.db')

    expect([ran.status, ran.complaint]).toEqual([
      1,
      expect.stringMatching(/there is no file .*not-there\.db; it is what TOKEN_STORAGE_DB names/),
    ])
  })

  it('reads the place of a store that is quoted', async () => {
    const ran = await (await importWorld()).import('"./not-there.db"')

    expect(ran.complaint).toMatch(/there is no file [^"]*not-there\.db;/)
  })

  it('leaves what is no sealed text, and takes a row of an unknown time for one of now', async () => {
    const setup = await importWorld()
    const ran = await setup.import(
      makePythonFile(
        newFile(),
        `UPDATE app_passwords SET encrypted_password = 5 WHERE user_id = 'alice';
         UPDATE app_passwords SET updated_at = 0 WHERE user_id = 'bob';`,
      ),
    )

    expect(counts(ran)).toMatchObject({ imported: 2 })
    expect((await setup.stored('bob'))?.connectedAt).toBeGreaterThan(Date.now() - 60_000)
  })

  it('refuses a command line without a store to read, or with two', async () => {
    const setup = await importWorld()

    expect((await runImport(argumentsOf(setup.options))).complaint).toMatch(/the store of the Python server is missing/)
    expect(await setup.import(makePythonFile(newFile()), {}, {}, ['another'])).toMatchObject({ status: 2, output: '' })
  })

  it('shows its options', async () => {
    const { status, output } = await runImport(['--help'])

    expect([status, output]).toEqual([0, expect.stringMatching(/^Usage: mcp-nextcloud-auth import-python <tokens\.db/)])
  })

  it('works from the built command line, by the environment', async () => {
    const setup = await importWorld()
    const { issuer, storage, 'key-file': file } = setup.options
    const environment = {
      PATH: process.env['PATH'],
      OIDC_ISSUER: issuer,
      NEXTCLOUD_MCP_SERVER_URL: RESOURCE,
      OIDC_CLIENT_ID: CLIENT_ID,
      OIDC_CLIENT_SECRET: CLIENT_SECRET,
      NEXTCLOUD_HOST: setup.nextcloud.url,
      TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY,
      DOCTOR_STORAGE: storage,
    }
    const args = [
      'import-python',
      makePythonFile(newFile()),
      '--key-file',
      file,
      '--clients',
      'any',
      '--mode',
      'app-password',
    ]
    const child = spawn(process.execPath, [path.join(ROOT, 'dist/cli/main.js'), ...args], {
      cwd: ROOT,
      env: environment,
    })
    let output = ''
    child.stdout.on('data', (chunk) => (output += String(chunk)))
    const status = await new Promise((resolve) => void child.on('close', resolve))

    expect([status, /^ +3 {2}imported$/m.test(output)]).toEqual([0, true])
    expect(await setup.act('carol', 'whoever')).toBe('carol')
  })
})

describe.runIf(has('better-sqlite3'))('import-python in refresh-token mode', () => {
  async function setUpTokens(clientId: string) {
    const address = { kind: 'SQLite', file: newFile() } as const
    const store = await openStore(address)
    onTestFinished(store.close)
    const made = await world({ mode: 'refresh-token', storage: store.adapter, options: { clientId } })
    const options = {
      storage: address.file,
      issuer: made.as.issuer,
      resource: RESOURCE,
      'client-id': clientId,
      'nextcloud-url': 'https://cloud.example.com',
      mode: 'refresh-token',
      clients: 'mcp-client',
      'key-file': keyFile(PYTHON_KEY),
    }
    const environment = { TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY, OIDC_CLIENT_SECRET: CLIENT_SECRET }
    return { ...made, import: (from: string) => runImport([from, ...argumentsOf(options)], { environment }) }
  }

  it('takes the refresh tokens of its own client, with their end, and leaves the expired ones', async () => {
    const setup = await setUpTokens(PYTHON_CLIENT)
    const ran = await setup.import(makePythonFile(newFile()))

    expect([ran.status, counts(ran)]).toMatchObject([0, { imported: 2, expired: 1, 'for the Python server itself': 1 }])
    expect(await setup.stored('alice')).toMatchObject({
      refreshToken: 'alice-refresh-token-canary',
      refreshEndsAt: 4102444800_000,
      scopes: ['openid', 'offline_access'],
      clients: ['mcp-client'],
      state: 'active',
    })
    expect(await setup.stored('bob')).not.toHaveProperty('refreshEndsAt')
    expect(await setup.stored('gina')).toBeUndefined()
    expect(counts(await setup.import(makePythonFile(newFile())))).toMatchObject({ 'connected already': 2 })
  })

  it('takes one of no audience for one of Nextcloud', async () => {
    const setup = await setUpTokens(PYTHON_CLIENT)
    const sql = `UPDATE refresh_tokens SET token_audience = NULL WHERE user_id = 'alice';`

    expect(counts(await setup.import(makePythonFile(newFile(), sql)))).toMatchObject({ imported: 2 })
  })

  it('leaves those of another client, and says which', async () => {
    const setup = await setUpTokens(CLIENT_ID)
    const ran = await setup.import(makePythonFile(newFile()))

    expect(counts(ran)).toMatchObject({ "of another client than this server's": 2 })
    expect(ran.output).toMatch(/^The Python server's client was python-client\.$/m)
    expect(await setup.stored('alice')).toBeUndefined()
  })

  it('says so where that store names no client', async () => {
    const setup = await setUpTokens(CLIENT_ID)
    const ran = await setup.import(makePythonFile(newFile(), 'DELETE FROM oauth_clients;'))

    expect(counts(ran)).toMatchObject({ imported: 2 })
    expect(ran.output).toMatch(/does not say which client the refresh tokens are of/)
  })
})
