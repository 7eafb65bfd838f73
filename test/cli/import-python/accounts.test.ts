import { hash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { argumentsOf } from '../../support/doctor-setup.js'
import { ENCRYPTION_KEY } from '../../support/grant-constants.js'
import { counts, fileOf, importWorld, newFile, runImport } from '../../support/import-python.js'
import { has } from '../../support/left-out.js'
import { addAccount, addToken } from '../../support/nextcloud/state.js'
import { makePythonFile } from '../../support/python-server.js'

/** Makes the app password of a user's row that of another account, as one who sent the link on had it made. */
const OF_BOB = `UPDATE app_passwords SET encrypted_password = (SELECT encrypted_password FROM app_passwords WHERE user_id = 'bob'),
  username = 'bob@example.com' WHERE user_id = 'alice';`

const hashed = (subject: string, provider = 1): string => hash('sha256', `${provider}_0_${subject}`)

type World = Awaited<ReturnType<typeof importWorld>>
const asked = ({ nextcloud }: World): number => nextcloud.received('/ocs/v2.php/cloud/user').length

function endTokens({ nextcloud: { state } }: World, ...uids: readonly string[]): void {
  for (const uid of uids) state.tokens.splice(0, Infinity, ...state.tokens.filter((token) => token.uid !== uid))
}

describe.runIf(has('better-sqlite3'))('import-python asks Nextcloud whose account an app password opens, and', () => {
  it.each([
    ['by sub, where nothing else is said', {}],
    ['by sub', { identity: 'sub' }],
    ['by a list', { accounts: 'alice,alice\nbob, bob\r\n\ncarol,carol\n' }],
  ])(
    'leaves that of somebody else: %s',
    async (_rule, { accounts, ...more }: { accounts?: string; identity?: string }) => {
      const setup = await importWorld()
      const given = { ...more, ...(accounts !== undefined && { accounts: fileOf(accounts) }) }
      const ran = await setup.import(makePythonFile(newFile(), OF_BOB), given)

      expect([ran.status, counts(ran)]).toMatchObject([
        0,
        { imported: 2, 'of another account in Nextcloud than the user is to have': 1 },
      ])
      expect(ran.output).toMatch(/^Another account: alice is to have alice, and the app password opens bob$/m)
      expect([await setup.act('alice'), await setup.act('bob')]).toEqual(['never', 'bob'])
    },
  )

  it('compares to the letter', async () => {
    const setup = await importWorld()
    const ran = await setup.import(makePythonFile(newFile()), { accounts: fileOf('alice,Alice\nbob,bob\n') })

    expect(counts(ran)).toMatchObject({ imported: 1, 'of another account in Nextcloud than the user is to have': 1 })
    expect(await setup.act('alice')).toBe('never')
  })

  it('knows the accounts that user_oidc made', async () => {
    const setup = await importWorld()
    for (const [subject, uid] of [
      ['carol', hashed('carol')],
      ['dora', hashed('dora', 2)],
    ] as const) {
      endTokens(setup, subject)
      addAccount(setup.nextcloud.state, uid)
      const password = `${subject}-app-password-canary`
      addToken(setup.nextcloud.state, { kind: 'app-password', uid, loginName: subject, password, name: 'Python' })
    }
    const ran = await setup.import(makePythonFile(newFile()), { identity: 'user_oidc:1', restricted: 'import' })

    expect(counts(ran)).toMatchObject({ imported: 1, 'of another account in Nextcloud than the user is to have': 4 })
    expect([await setup.act('carol'), await setup.act('dora')]).toEqual([hashed('carol'), 'never'])
  })

  it('takes the rule from the environment, and the list before it', async () => {
    const setup = await importWorld()
    const environment = { TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY, NEXTCLOUD_IDENTITY: 'claim:preferred_username' }
    const source = makePythonFile(newFile())
    const ran = await setup.import(source, {}, { environment })
    expect([ran.status, ran.output]).toEqual([2, ''])
    expect(ran.complaint).toMatch(/has no claim preferred_username, .*: name the accounts by --accounts/)

    const list = { accounts: fileOf('alice,alice\n') }
    expect(counts(await setup.import(source, list, { environment }))).toMatchObject({
      imported: 1,
      'of a user whom the list of --accounts does not name': 2,
    })
    expect([await setup.act('alice'), await setup.act('bob')]).toEqual(['alice', 'never'])
  })

  it('takes any account where the rule is anyone, says so, and leaves what is dead all the same', async () => {
    const setup = await importWorld()
    endTokens(setup, 'carol')
    const ran = await setup.import(makePythonFile(newFile(), OF_BOB), { identity: 'anyone' })

    expect(counts(ran)).toMatchObject({ imported: 2, 'refused by Nextcloud': 1 })
    expect(ran.output).toMatch(/^connect\.identity is anyone: /m)
    expect(await setup.act('alice')).toBe('bob')
  })

  it.each([['alice'], ['alice,alice,x'], [',alice'], ['alice,'], ['alice,a\nalice,b']])(
    'refuses a list that is none: %j',
    async (text) => {
      const setup = await importWorld()
      const ran = await setup.import(makePythonFile(newFile()), { accounts: fileOf(text) })

      expect([ran.status, ran.output, asked(setup)]).toEqual([2, '', 0])
      expect(ran.complaint).toMatch(/line \d of --accounts is not subject,userid, or names its subject again/)
    },
  )

  it('asks in a rehearsal too, and nothing about who is connected or disconnected here', async () => {
    const setup = await importWorld()
    const source = makePythonFile(newFile(), OF_BOB)
    const rehearsal = await setup.import(source, {}, {}, ['--dry-run'])
    expect(counts(rehearsal)).toMatchObject({
      imported: 2,
      'of another account in Nextcloud than the user is to have': 1,
    })
    expect(asked(setup)).toBe(3)

    await setup.import(source)
    await setup.auth.revoke({ subject: 'carol' })
    const before = asked(setup)
    await setup.import(source)
    expect(asked(setup) - before).toBe(1)
  })

  it('leaves a row without an answer, says so with its status, and imports it the next time', async () => {
    const setup = await importWorld()
    const source = makePythonFile(newFile())
    let left = 1
    setup.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') && left-- > 0 ? 503 : undefined))
    const first = await setup.import(source)
    expect([first.status, counts(first)]).toMatchObject([1, { imported: 2, 'without an answer of Nextcloud': 1 }])
    expect(await setup.act('alice')).toBe('never')

    const second = await setup.import(source)
    expect([second.status, counts(second)]).toMatchObject([0, { imported: 1, 'connected already': 2 }])
    expect(await setup.act('alice')).toBe('alice')
  })

  it.each<[why: string, answer: number | { status: number; headers: Record<string, string>; body: string }]>([
    ['is in maintenance', 503],
    ['counts too many wrong passwords', 429],
    ['does not answer', 0],
    ['names nobody', { status: 200, headers: { 'content-type': 'application/json' }, body: '{"ocs":{"data":{}}}' }],
    ['is the page of a proxy', { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>Welcome</p>' }],
  ])('writes nothing and soon stops where Nextcloud %s', async (_why, answer) => {
    const setup = await importWorld()
    setup.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? answer : undefined))
    const ran = await setup.import(makePythonFile(newFile()), { restricted: 'import' })

    expect([ran.status, counts(ran)]).toMatchObject([1, { 'without an answer of Nextcloud': 5 }])
    expect(counts(ran)).not.toHaveProperty('imported')
    expect(ran.output).toMatch(/^Nextcloud did not answer three times in a row, and no more was asked\.$/m)
    expect(asked(setup)).toBe(3)
    setup.nextcloud.disturb(undefined)
    expect(await setup.act('alice')).toBe('never')
  })

  it('stops after three refusals in a row, and goes on behind the last when it is told to', async () => {
    const setup = await importWorld()
    endTokens(setup, 'alice', 'bob', 'carol')
    const source = makePythonFile(newFile())
    const ran = await setup.import(source, { restricted: 'import' })

    expect([ran.status, counts(ran)]).toMatchObject([
      1,
      { 'refused by Nextcloud': 3, 'without an answer of Nextcloud': 2 },
    ])
    expect(ran.output).toMatch(/^Nextcloud refused three app passwords in a row, .*, go on with --after=carol\.$/m)
    expect([asked(setup), setup.nextcloud.state.attempts.length]).toEqual([3, 3])
    const more = await setup.import(source, { restricted: 'import', after: 'carol' })
    expect([more.status, counts(more)["imported without the user's own restriction to scopes"]]).toEqual([0, 2])
    expect(await setup.act('dora')).toBe('dora')
  })

  it('does not stop where a good one is between', async () => {
    const setup = await importWorld()
    endTokens(setup, 'alice', 'bob', 'dora')
    const ran = await setup.import(makePythonFile(newFile()), { restricted: 'import' })

    expect([ran.status, counts(ran)]).toMatchObject([0, { imported: 1, 'refused by Nextcloud': 3 }])
  })

  it('stops below the number of wrong passwords at which Nextcloud turns everybody away', async () => {
    const setup = await importWorld()
    const rows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
      INSERT INTO app_passwords SELECT printf('u''%02d', i), encrypted_password, 1, 1, NULL, iif(i % 2 = 0, 'alice', 'nobody')
      FROM n, app_passwords WHERE user_id = 'alice';`
    const ran = await setup.import(makePythonFile(newFile(), rows), { identity: 'anyone', after: 'u' })

    expect([ran.status, counts(ran)['refused by Nextcloud']]).toEqual([1, 8])
    expect(ran.output).toMatch(/^Nextcloud refused eight app passwords, .*, go on with --after='u'\\''15'\.$/m)
    expect((await runImport(['--help', ...argumentsOf({})])).output).toContain('--after')
  })
})
