import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Surroundings } from '../../../src/cli/command-line.js'
import { grants as command } from '../../../src/cli/grants/grants.js'
import { systemClock } from '../../../src/clock.js'
import { readConfig } from '../../../src/config/read-config.js'
import { createEvents } from '../../../src/events.js'
import { deadGrant, type Grant } from '../../../src/grants/grant.js'
import { createGrants, type Grants } from '../../../src/grants/open-grants.js'
import { formerKey } from '../../../src/grants/record-key.js'
import type { StorageAdapter } from '../../../src/index.js'
import { callCommand, ROOT, stoppableBy, type Ran } from '../../support/command.js'
import { argumentsOf } from '../../support/doctor-setup.js'
import { ENCRYPTION_KEY } from '../../support/grant-constants.js'
import { has } from '../../support/left-out.js'
import { createRealStores, storeKinds } from '../../support/scene.js'
import { openStore, type StoreAddress } from '../../support/stores.js'

const stores = createRealStores()
const folder = mkdtempSync(path.join(tmpdir(), 'grants-'))
afterAll(() => {
  stores.remove()
  rmSync(folder, { recursive: true, force: true })
})

/** The configuration that options name now. */
const NOW = {
  issuer: 'https://idp.example.com',
  resource: 'https://mcp.example.com/mcp',
  'client-id': 'mcp-server',
  'nextcloud-url': 'https://cloud.example.com',
  mode: 'app-password',
}
type Configuration = typeof NOW
const ENVIRONMENT = { TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY, OIDC_CLIENT_SECRET: 'client-secret-canary' }

/** Counts of the report, by the first words. */
const counts = ({ output }: Ran): Record<string, number> =>
  Object.fromEntries(
    [...output.matchAll(/^ +(\d+) {2}([^:,\n]*)/gm)].map(([, count, what]) => [what ?? '', Number(count)]),
  )

/** The grants of a configuration in a store. */
function grantsOf(storage: StorageAdapter, given: Partial<Configuration> = {}): Grants {
  const { issuer, resource, mode, ...names } = { ...NOW, ...given }
  const config = readConfig(
    {
      issuer,
      resource,
      storage,
      encryptionKey: ENCRYPTION_KEY,
      clientId: names['client-id'],
      clientSecret: 'x',
      connect: { identity: () => false },
      nextcloud: { url: names['nextcloud-url'], mode: mode as 'app-password' },
    },
    {},
  )
  const events = createEvents(() => undefined, systemClock)
  return createGrants({ config, grants: config.grants!, storage, clock: systemClock, events })
}

/** A store, and what may be done with it. */
async function setUp(
  address: StoreAddress = { kind: 'SQLite', file: path.join(folder, `${randomBytes(6).toString('hex')}.db`) },
) {
  const { adapter, close } = await openStore(address)
  onTestFinished(close)
  const storage = address.kind === 'SQLite' ? address.file : address.url
  const prefix = address.kind === 'Redis' ? { 'storage-prefix': address.prefix ?? '' } : {}
  const run = async (args: readonly string[], surroundings: Partial<Surroundings> = {}): Promise<Ran> => {
    const ran = await callCommand(command, args, { environment: ENVIRONMENT, ...surroundings })
    expect((ran.output + ran.complaint).includes('canary'), 'a secret in the output').toBe(false)
    return ran
  }
  return {
    adapter,
    storage,
    list: (...more: readonly string[]) => run(['list', ...argumentsOf({ storage, ...prefix }), ...more]),
    move: (from: object, more: readonly string[] = [], surroundings?: Partial<Surroundings>) =>
      run(['move', ...argumentsOf({ ...NOW, storage, ...prefix, ...from }), ...more], surroundings),
    async connect(subject: string, given: Partial<Configuration> = {}): Promise<Grants> {
      const grants = grantsOf(adapter, given)
      const { issuer, mode } = { ...NOW, ...given }
      const secret = `${subject}-canary`
      const credential =
        mode === 'app-password'
          ? { appPassword: { loginName: subject, password: secret, nextcloud: grants.owner.nextcloud } }
          : { refreshToken: secret, accessToken: { token: 'access-canary', sentAt: 1 } }
      const connection = { ...credential, fingerprint: grants.fingerprint(secret), scopes: [], clientId: 'claude' }
      await grants.store.connect({ issuer, subject }, connection)
      return grants
    },
    async pend(subject: string, given: Partial<Configuration> = {}): Promise<void> {
      const { deletions, newDeletion, owner } = grantsOf(adapter, given)
      const appPassword = { loginName: subject, password: `${subject}-ended-canary`, nextcloud: owner.nextcloud }
      await deletions.put(newDeletion({ issuer: { ...NOW, ...given }.issuer, subject }, { appPassword }))
    },
    /** The grant of a user in a configuration. */
    async found(subject: string, given: Partial<Configuration> = {}): Promise<Grant | undefined> {
      const { store } = grantsOf(adapter, given)
      const { issuer } = { ...NOW, ...given }
      return (await store.read(store.keyOf({ issuer, subject })))?.grant
    },
    async change(subject: string, given: Partial<Configuration>, to: (grant: Grant) => Grant): Promise<void> {
      const { store } = grantsOf(adapter, given)
      const key = store.keyOf({ issuer: { ...NOW, ...given }.issuer, subject })
      const { grant, version } = (await store.read(key))!
      await store.write(key, to(grant), version)
    },
  }
}

const TOKENS = { mode: 'refresh-token' }

describe.each(storeKinds())('grants at a store in %s', (kind) => {
  it('lists what there is, and moves it', async () => {
    const address = await stores.address(kind)
    const prefix = `${randomBytes(4).toString('hex')}:`
    const setup = await setUp(address.kind === 'Redis' ? { ...address, prefix } : address)
    // Redis may be one that others use too.
    const store = await openStore(address.kind === 'Redis' ? { ...address, prefix } : address)
    onTestFinished(store.close)
    const old = { resource: 'https://old.example.com/mcp' }
    for (const subject of ['alice', 'bob', 'carol']) await setup.connect(subject, old)

    const before = await setup.list()
    expect(before.status).toBe(0)
    expect(before.output).toMatch(
      /^3 active: resource https:\/\/old\.example\.com\/mcp, client mcp-server, Nextcloud https:\/\/cloud\.example\.com\/, issuer https:\/\/idp\.example\.com$/m,
    )
    const moved = await setup.move({ 'from-resource': old.resource })
    expect([moved.status, counts(moved)]).toEqual([0, { moved: 3 }])
    expect(await setup.found('alice')).toMatchObject({
      clients: ['claude'],
      identity: { issuer: NOW.issuer, subject: 'alice' },
      owner: { resource: NOW.resource },
    })
    expect(await setup.found('alice', old)).toBeUndefined()
    expect(counts(await setup.move({ 'from-resource': old.resource }))).toEqual({})
  })
})

describe.runIf(has('better-sqlite3'))('grants list', () => {
  it('shows each connection, and counts by configuration, without any secret', async () => {
    const setup = await setUp()
    await setup.connect('alice')
    await setup.connect('bob', { 'client-id': 'other' })
    await setup.connect('carol', TOKENS)
    await setup.change('alice', {}, (grant) => deadGrant(grant, 'refused', 1))
    const { status, output } = await setup.list()

    expect(status).toBe(0)
    expect(output).toMatch(
      /^alice\tneeds-reconnect\tnothing\t\d{4}-\d\d-\d\d\tclaude\thttps:\/\/idp\.example\.com\thttps:\/\/mcp\.example\.com\/mcp\tmcp-server\thttps:\/\/cloud\.example\.com\/$/m,
    )
    expect(output).toMatch(/^bob\tactive\tapp password\t/m)
    expect(output).toMatch(/^carol\tactive\trefresh token\t/m)
    expect(output).toMatch(
      /^1 needs-reconnect, 1 active: .*client mcp-server|^1 active, 1 needs-reconnect: .*client mcp-server/m,
    )
    expect(output).toMatch(/^1 active: .*client other, /m)
  })

  it('shows a connection that serves no client any more', async () => {
    const setup = await setUp()
    await setup.connect('alice')
    await setup.change('alice', {}, (grant) => ({ ...grant, clients: [] }))

    expect((await setup.list()).output).toMatch(/^alice\tactive\tapp password\t\d{4}-\d\d-\d\d\t-\thttps:/m)
  })

  it.each([
    ['a store', [], ENVIRONMENT, /the store is missing: name it by /],
    ['the keys', ['--storage', './any.db'], {}, /the keys of the store are missing: set TOKEN_ENCRYPTION_KEY/],
  ])('asks for %s', async (_what, args, environment, says) => {
    const ran = await callCommand(command, ['list', ...args], { environment })

    expect(ran).toMatchObject({ status: 2, output: '', complaint: expect.stringMatching(says) as string })
  })

  it('gives one JSON document', async () => {
    const setup = await setUp()
    expect(JSON.parse((await setup.list('--json')).output)).toEqual({
      connections: [],
      configurations: [],
      former: 0,
      sealed: 0,
    })
    await setup.connect('alice')
    await setup.connect('bob')
    const document = JSON.parse((await setup.list('--json')).output) as { connections: { subject: string }[] }

    expect(document).toMatchObject({
      configurations: [
        {
          resource: NOW.resource,
          clientId: 'mcp-server',
          nextcloud: 'https://cloud.example.com/',
          issuer: NOW.issuer,
          states: { active: 2 },
        },
      ],
    })
    expect(document.connections.map(({ subject }) => subject).sort()).toEqual(['alice', 'bob'])
  })

  it('gives JSON without characters that a terminal obeys, and with the subject as it is', async () => {
    const setup = await setUp()
    await setup.connect('eve\u009b2J\u202e')
    const { output } = await setup.list('--json')

    expect(output).toContain('"subject":"eve\\u009b2J\\u202e"')
    expect(JSON.parse(output)).toMatchObject({ connections: [{ subject: 'eve\u009b2J\u202e' }] })
  })

  it('counts what is still to be ended elsewhere, also where nobody is connected', async () => {
    const setup = await setUp()
    await setup.connect('alice')
    for (const subject of ['alice', 'bob']) await setup.pend(subject)
    await setup.pend('carol', { 'client-id': 'other' })

    const { output } = await setup.list()
    expect(output).toMatch(/^1 active, 2 to be ended elsewhere: .*client mcp-server, /m)
    expect(output).toMatch(/^1 to be ended elsewhere: .*client other, /m)
    const { configurations } = JSON.parse((await setup.list('--json')).output) as { configurations: object[] }
    expect(configurations).toHaveLength(2)
    expect(configurations).toContainEqual(expect.objectContaining({ clientId: 'other', states: {}, pending: 1 }))
    expect(configurations).toContainEqual(expect.objectContaining({ clientId: 'mcp-server', pending: 2 }))
  })

  it('counts what names neither user nor configuration, and what the keys do not open', async () => {
    const setup = await setUp()
    const { records, owner } = await setup.connect('alice')
    const former = { ...(await setup.found('alice'))!, identity: undefined, owner: undefined }
    await records.write(formerKey('grant', owner, NOW.issuer, 'zoe'), former, null)
    await setup.adapter.put('v1:sealed-with-another-key', 'eyJ.a.b.c.d', null)
    const { status, output } = await setup.list()

    expect(status).toBe(0)
    expect(output).toMatch(/^1 of a version before 0\.4: they name neither user nor configuration/m)
    expect(output).toMatch(/^1 records that the keys do not open$/m)
    expect(counts(await setup.move({ 'from-resource': 'https://old.example.com' }))).toEqual({
      'of a version before 0.4': 1,
    })
  })

  it('says that the key is wrong if it opens nothing', async () => {
    const setup = await setUp()
    await setup.connect('alice')
    const environment = { TOKEN_ENCRYPTION_KEY: randomBytes(32).toString('base64url') }
    const ran = await callCommand(command, ['list', '--storage', setup.storage], { environment })

    expect([ran.status, ran.complaint]).toEqual([
      1,
      expect.stringMatching(/wrong key: .*TOKEN_ENCRYPTION_KEY.* opens none of the 1 records/),
    ])
  })
})

describe.runIf(has('better-sqlite3'))('grants move', () => {
  const OLD = { resource: 'https://old.example.com/mcp' }
  const FROM = { 'from-resource': OLD.resource }

  it('moves refresh tokens and app passwords to another resource, with consent and without access tokens', async () => {
    const setup = await setUp()
    await setup.connect('alice', OLD)
    await setup.connect('bob', { ...OLD, ...TOKENS })

    expect(counts(await setup.move(FROM))).toEqual({ moved: 2 })
    expect(await setup.found('alice')).toMatchObject({ appPassword: { password: 'alice-canary' }, clients: ['claude'] })
    const bob = await setup.found('bob', TOKENS)
    expect(bob).toMatchObject({
      refreshToken: 'bob-canary',
      state: 'active',
      agreed: { claude: expect.any(Number) as number },
    })
    expect(bob).not.toHaveProperty('accessToken')
  })

  it.each([
    ['client', { 'client-id': 'old-client' }, { 'from-client-id': 'old-client' }],
    ['issuer', { issuer: 'https://old.example.com' }, { 'from-issuer': 'https://old.example.com' }],
  ])('leaves refresh tokens of another %s, and moves app passwords', async (_what, old, from) => {
    const setup = await setUp()
    await setup.connect('alice', old)
    await setup.connect('bob', { ...old, ...TOKENS })

    expect(counts(await setup.move(from))).toEqual({ moved: 1, 'refresh tokens': 1 })
    expect(await setup.found('alice')).toMatchObject({ identity: { issuer: NOW.issuer, subject: 'alice' } })
    expect(await setup.found('bob', { ...old, ...TOKENS })).toMatchObject({ refreshToken: 'bob-canary' })
    expect(await setup.found('bob', TOKENS)).toBeUndefined()
  })

  it.each(['https://old.example.com', 'https://old.example.com/', 'https://old.example.com/nc'])(
    'moves app passwords of the same Nextcloud at another address: %s',
    async (url) => {
      const setup = await setUp()
      await setup.connect('alice', { 'nextcloud-url': url })

      expect(counts(await setup.move({ 'from-nextcloud-url': url }))).toEqual({ moved: 1 })
      expect(await setup.found('alice')).toMatchObject({
        appPassword: { nextcloud: 'https://cloud.example.com/', password: 'alice-canary' },
        owner: { nextcloud: 'https://cloud.example.com/' },
      })
    },
  )

  it('leaves the connections of every other configuration', async () => {
    const setup = await setUp()
    await setup.connect('alice', { ...OLD, 'client-id': 'other' })
    await setup.connect('bob', { ...OLD, issuer: 'https://other.example.com' })
    await setup.connect('carol', { ...OLD, 'nextcloud-url': 'https://other.example.com' })
    const { output } = await setup.move(FROM)

    expect(output).toMatch(/^there are no connections of that configuration/m)
    expect(await setup.found('alice', { ...OLD, 'client-id': 'other' })).toBeDefined()
  })

  it('keeps who is connected where they would go, and who has ended it there', async () => {
    const setup = await setUp()
    for (const subject of ['alice', 'bob']) await setup.connect(subject, OLD)
    await setup.connect('alice')
    await setup.change('alice', {}, (grant) => ({ ...grant, clients: ['newer'], fingerprint: 'another' }))
    const { store } = await setup.connect('bob')
    await store.disconnect({ issuer: NOW.issuer, subject: 'bob' }, undefined)

    expect(counts(await setup.move(FROM))).toEqual({
      'connected already where they would go': 1,
      'ended since where they would go': 1,
    })
    expect(await setup.found('alice')).toMatchObject({ clients: ['newer'] })
    expect(await setup.found('bob')).toMatchObject({ state: 'disconnected' })
    expect(await setup.found('alice', OLD)).toMatchObject({ state: 'active' })
  })

  it('leaves what is in renewal, and what has ended, but takes a dead app password that may come back', async () => {
    const setup = await setUp()
    for (const subject of ['alice', 'bob', 'carol']) await setup.connect(subject, OLD)
    await setup.change('alice', OLD, (grant) => ({ ...grant, state: 'presented' }))
    await setup.change('bob', OLD, (grant) => deadGrant(grant, 'expired', 1))
    await setup.change('carol', OLD, (grant) => ({ ...grant, state: 'needs-reconnect', triedAt: 1 }))

    expect(counts(await setup.move(FROM))).toEqual({ moved: 1, 'in renewal': 1, ended: 1 })
    expect(await setup.found('carol')).toMatchObject({
      state: 'needs-reconnect',
      appPassword: { password: 'carol-canary' },
    })
    expect(await setup.found('alice', OLD)).toMatchObject({ state: 'presented' })
  })

  it('takes along what is still to be ended elsewhere, and says so', async () => {
    const setup = await setUp()
    await setup.pend('alice', OLD)
    const rehearsal = await setup.move(FROM, ['--dry-run'])
    expect(counts(rehearsal)).toEqual({ 'still to be ended elsewhere': 1 })
    expect((await setup.list()).output).toMatch(
      /^1 to be ended elsewhere: resource https:\/\/old\.example\.com\/mcp, /m,
    )

    expect(counts(await setup.move(FROM))).toEqual({ 'still to be ended elsewhere': 1 })
    expect((await setup.list()).output).toMatch(/^1 to be ended elsewhere: resource https:\/\/mcp\.example\.com\/mcp, /)
    expect(counts(await setup.move(FROM))).toEqual({})
  })

  it('forgets earlier refresh tokens of another issuer, which may not see them', async () => {
    const old = { issuer: 'https://old.example.com' }
    const setup = await setUp()
    await setup.connect('alice', old)
    await setup.change('alice', old, (grant) => ({ ...grant, replaced: [{ refreshToken: 'replaced-canary' }] }))
    expect(counts(await setup.move({ 'from-issuer': old.issuer }))).toEqual({ moved: 1 })
    expect(await setup.found('alice')).not.toHaveProperty('replaced')
  })

  it('writes nothing in a rehearsal', async () => {
    const setup = await setUp()
    await setup.connect('alice', OLD)
    const ran = await setup.move(FROM, ['--dry-run'])

    expect(counts(ran)).toEqual({ moved: 1 })
    expect(ran.output).toMatch(/^Nothing was written: --dry-run$/m)
    expect(await setup.found('alice')).toBeUndefined()
    expect(await setup.found('alice', OLD)).toBeDefined()
  })

  it('ends a move that was broken off between writing and deleting', async () => {
    const setup = await setUp()
    await setup.connect('alice', OLD)
    await setup.connect('alice')

    expect(counts(await setup.move(FROM))).toEqual({ moved: 1 })
    expect(await setup.found('alice')).toMatchObject({ state: 'active' })
    expect(await setup.found('alice', OLD)).toBeUndefined()
  })

  it('leaves a connection that another writer changes meanwhile, in one place', async () => {
    const setup = await setUp()
    await setup.connect('alice', OLD)
    const database = new Database!(setup.storage)
    onTestFinished(() => void database.close())
    // Between the read of the page and the move.
    const stoppable = stoppableBy(() => {
      database.exec(`UPDATE mcp_nextcloud_auth SET version = version || 'x'`)
      return false
    })

    expect(counts(await setup.move(FROM, [], { stoppable }))).toEqual({ 'in renewal': 1 })
    expect(await setup.found('alice')).toBeUndefined()
    expect(await setup.found('alice', OLD)).toMatchObject({ state: 'active' })
  })

  it('stops between two connections, and goes on where it is run again', async () => {
    const setup = await setUp()
    for (let at = 0; at < 150; at += 1) await setup.connect(`user-${at}`, OLD)
    let asked = 0
    const stoppable = stoppableBy(() => (asked += 1) > 60)
    const first = await setup.move(FROM, [], { stoppable })
    expect(first.status).toBe(130)
    expect(first.output).toMatch(/^Stopped: run this again to go on$/m)
    const done = counts(first)['moved'] ?? 0
    expect(done).toBeGreaterThan(50)
    expect(done).toBeLessThan(70)

    expect(counts(await setup.move(FROM))).toEqual({ moved: 150 - done })
    expect((await setup.list()).output).toMatch(/^150 active: resource https:\/\/mcp\.example\.com\/mcp, /m)
  })

  it('is stopped by Ctrl-C, as built, and loses nobody', async () => {
    const setup = await setUp()
    for (let at = 0; at < 900; at += 1) await setup.connect(`user-${at}`, OLD)
    const args = ['grants', 'move', ...argumentsOf({ ...NOW, storage: setup.storage, ...FROM })]
    const env = { PATH: process.env['PATH'], ...ENVIRONMENT }
    const child = spawn(process.execPath, [path.join(ROOT, 'dist/cli/main.js'), ...args], { cwd: ROOT, env })
    const ended = new Promise((resolve) => void child.on('close', resolve))
    // The progress is told after the first 500.
    child.stderr.once('data', () => child.kill('SIGINT'))
    let output = ''
    child.stdout.on('data', (chunk) => (output += String(chunk)))

    expect([await ended, output]).toEqual([130, expect.stringMatching(/^Stopped: run this again to go on$/m)])
    expect(counts(await setup.move(FROM))['moved']).toBeLessThanOrEqual(400)
    expect((await setup.list()).output).toMatch(/^900 active: resource https:\/\/mcp\.example\.com\/mcp, /m)
  })

  it.each<[why: string, from: object, says: RegExp]>([
    ['nothing that has changed', {}, /--from-… must name what has changed; .*now/],
    ['what is as it was', { 'from-resource': NOW.resource }, /--from-… must name what has changed/],
    ['an address that is none', { 'from-nextcloud-url': 'cloud' }, /--from-nextcloud-url is no URL/],
  ])('refuses %s', async (_why, from, says) => {
    const setup = await setUp()
    await setup.connect('alice')

    expect(await setup.move(from)).toMatchObject({
      status: 2,
      output: '',
      complaint: expect.stringMatching(says) as string,
    })
  })
})

describe('grants', () => {
  it.each([[[]], [['remove']], [['list', 'more']], [['toString']]])('refuses another command: %j', async (args) => {
    const ran = await callCommand(command, args)

    expect([ran.status, ran.output]).toEqual([2, ''])
  })

  it('shows its options', async () => {
    const ran = await callCommand(command, ['--help'])

    expect([ran.status, ran.output]).toEqual([0, expect.stringMatching(/^Usage: mcp-nextcloud-auth grants list/)])
  })
})
