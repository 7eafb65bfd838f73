import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { CHECK_IDS } from '../../src/cli/doctor/checks.js'
import { WALK_IDS } from '../../src/cli/doctor/clients/walk.js'
import { asLines } from '../../src/cli/doctor/report.js'
import { createSecrets } from '../../src/cli/secrets.js'
import { argumentsOf, expectNoSecret, ROOT, runIn, setUpDoctor } from '../support/doctor-setup.js'

const folder = mkdtempSync(path.join(tmpdir(), 'doctor-args-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const CANARY = 'eyJcanary.Qz81mXkV.w0Yt63Lp'

describe('the command line of the doctor', () => {
  it('prints its own help, which warns of a token on the command line', async () => {
    const { status, output, complaint } = await runIn(['--help'])

    expect({ status, complaint }).toEqual({ status: 0, complaint: '' })
    expect(output).toMatch(/--token <token> +the same; but every user of this machine can see a\n +command line/)
    expect(output).toMatch(/--issuer <url> +issuer \(OIDC_ISSUER\)/)
  })

  it.each([
    ['an unknown option', ['--tokn', CANARY], /argument 1 is not an option/],
    ['an unknown option that holds a value', [`--${CANARY}`], /argument 1 is not an option/],
    ['an argument that stands alone', ['--json', CANARY], /argument 2 is not an option/],
    ['an option without its value', ['--issuer'], /lacks its value/],
    ['two tokens', ['--token', CANARY, '--token-file', '-'], /two ways to say the same/],
    ['standard input twice', ['--token-file', '-', '--client-secret-file', '-'], /only one of/],
    ['a file that is not there', ['--token-file', `/nowhere/${CANARY}`], /cannot be read/],
    ['a store of another kind', ['--storage', `mongodb://u:${CANARY}@h/db`], /--storage must be/],
  ])('exits with 2 for %s, and repeats nothing of it', async (_name, args, complaint) => {
    const outcome = await runIn(args)

    expect(outcome).toMatchObject({ status: 2, output: '' })
    expect(outcome.complaint).toMatch(complaint)
    expectNoSecret(outcome.complaint, [CANARY])
  })

  it('takes a token, and the client secret, from files', async () => {
    const setup = await setUpDoctor()
    const { OIDC_CLIENT_SECRET: secret = '' } = setup.environment
    writeFileSync(path.join(folder, 'token'), `${setup.token}\n`)
    writeFileSync(path.join(folder, 'secret'), `${secret}\n`)
    const args = argumentsOf(setup.options)
    const { status, output } = await runIn(
      [...args, '--token-file', 'token', '--client-secret-file', 'secret', '--json'],
      { directory: folder },
    )

    expect(status).toBe(0)
    expectNoSecret(output, [setup.token, secret])
    expect(output).toContain('"id": "exchange.live",\n      "status": "passed"')
  })

  it('takes a token from the command line too, and everything else from the environment', async () => {
    const setup = await setUpDoctor()
    const { status, output } = await runIn(['--token', setup.token], {
      environment: {
        ...setup.environment,
        OIDC_ISSUER: setup.as.issuer,
        NEXTCLOUD_MCP_SERVER_URL: setup.resource,
        OIDC_CLIENT_ID: 'mcp-server',
        NEXTCLOUD_HOST: setup.nextcloud.url,
      },
    })

    expect(status).toBe(0)
    expectNoSecret(output, [...setup.secrets, setup.token])
    expect(output).toContain('✓ exchange.live: a token came back: iss ')
  })

  it('keeps the secret of NEXTCLOUD_OIDC_CLIENT_SECRET out of its output as well', async () => {
    const setup = await setUpDoctor()
    const environment = { ...setup.environment, OIDC_CLIENT_SECRET: '', NEXTCLOUD_OIDC_CLIENT_SECRET: CANARY }
    const { output } = await runIn([...argumentsOf(setup.options), '--resource', `https://h/${CANARY}`], {
      environment,
    })

    expect(output).toContain('config: ')
    expectNoSecret(output, [CANARY])
  })

  it('prints one line per check with its sign, and how many there are of each', async () => {
    const setup = await setUpDoctor()
    const args = argumentsOf(setup.options)
    const { output } = await runIn(args, { environment: setup.environment })
    const lines = output.trimEnd().split('\n')

    expect(lines.slice(0, -2).map((line) => /^[✓✗–] ([\w.-]+): ./.exec(line)?.[1])).toEqual(CHECK_IDS)
    expect(lines.at(-1)).toMatch(/^\d+ checks: \d+ ✓, 0 ✗, \d+ – left out\. Nothing to mend in what was tried$/)
    expect(lines.at(-1)).toContain(`${CHECK_IDS.length} checks: `)
  })

  it('reads lists, numbers and pairs', async () => {
    const setup = await setUpDoctor()
    Object.assign(setup.options, { audience: `a, ${setup.resource}`, introspection: 'false', 'clock-tolerance': '7.5' })
    const { failed } = await setup.run(['--nextcloud-parameter', 'a=b=c', '--nextcloud-parameter', 'd=e'])
    const form = setup.as.received('/token').at(-1)?.form

    expect(failed).toEqual([])
    expect([form?.get('a'), form?.get('d')]).toEqual(['b=c', 'e'])
  })

  it('leaves the judgement of a number to the configuration', async () => {
    const setup = await setUpDoctor()
    setup.options['timeout'] = 'soon'
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['config'])
    expect(finding('config')).toMatchObject({
      found: 'http.timeout must be a whole number of milliseconds from 1 to 2147483647',
      fix: 'set it by --timeout or the option http.timeout',
    })
  })

  it('works as a command, reading a token from standard input', () => {
    const main = path.join(ROOT, 'dist/cli/main.js')
    const args = ['doctor', '--issuer', 'http://127.0.0.1:1', '--resource', 'http://127.0.0.1:1/mcp', '--json']
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args, '--token-file', '-'], {
      encoding: 'utf8',
      input: CANARY,
      env: {},
    })

    expect({ status, stderr }).toEqual({ status: 1, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ ok: false })
    expectNoSecret(stdout, [CANARY])
  })

  it('says in the manual what each check means, and names no other', () => {
    const page = readFileSync(path.join(ROOT, 'docs/doctor.md'), 'utf8')
    const documented = [...page.matchAll(/^\| `([\w.-]+)` /gm)].map((match) => match[1])

    expect(documented).toEqual([...WALK_IDS, ...CHECK_IDS])
  })
})

describe('what the doctor prints', () => {
  const secrets = createSecrets()
  const secret = 'canary/4mW9+kQz=81'
  secrets.add(secret)
  secrets.add('short')

  it.each([secret, encodeURIComponent(secret)])('never holds a secret whole: %s', (form) => {
    expect(secrets.mask(`before ${form} after, short`)).toBe('before … after, short')
  })

  it('holds no part of a secret where it quotes somebody else', () => {
    expect(secrets.quote(`said ${secret.slice(2, 12)}.`)).toBe('said ….')
  })

  it.each(['mcp-server', 'mcp-server1', 'mcp-server12'])('holds no secret in the Basic header of %s', (client) => {
    const header = Buffer.from(`${client}:${secret}`).toString('base64')
    const [before = '', after = '', ...more] = secrets.quote(`said Basic ${header}.`).split('…')
    expect(more).toEqual([])
    // What is left at both ends tells of the secret no more than a character that is cut.
    expect(Buffer.from(before.slice('said Basic '.length), 'base64').toString()).toBe(`${client}:`)
    expect(after.length).toBeLessThan(5)
  })

  it('holds nothing that looks like a JWT where it quotes somebody else', () => {
    expect(secrets.quote('said eyJhbGciOiJub25lIn0.e30.abc, and more')).toBe('said …, and more')
  })

  it('holds what anybody may know, where a secret begins with it', () => {
    const weak = createSecrets()
    weak.add('mcp-server-4mW9kQz81')
    weak.show('mcp-server')

    expect(weak.quote('client_id mcp-server; said mcp-server-4mW9')).toBe('client_id mcp-server; said mcp…')
    weak.add('nextcloud-client_secret')
    expect(weak.quote('no client_secret for nextcloud')).toBe('no client_secret for nextcloud')
  })

  it('quotes what is not there as JSON does', () => {
    expect([secrets.quote(undefined), secrets.quote({ a: 1 })]).toEqual(['null', '{"a":1}'])
  })

  it('quotes no control characters, and no more than 200 characters', () => {
    expect(secrets.quote('a\u001b[31mb\nc')).toBe('a [31mb c')
    expect(secrets.quote('x'.repeat(1_000))).toHaveLength(200)
  })

  it('holds nothing in a line that a terminal obeys or that makes it two', () => {
    const found = 'at \u001b[2Jhttps://idp.example.com\u202e\u2028/jwks\nand more'

    expect(asLines([{ id: 'discovery.document', status: 'failed', found }])).toBe(
      '✗ discovery.document: at \uFFFD[2Jhttps://idp.example.com\uFFFD\uFFFD/jwks and more\n\n' +
        '1 check: 0 ✓, 1 ✗, 0 – left out. Begin with discovery.document: at \uFFFD[2Jhttps://idp.example.com\uFFFD\uFFFD/jwks and more\n',
    )
  })

  it('ends with the first thing to do, and the issuer that it is about', () => {
    const lines = asLines([
      { id: 'config', status: 'passed', found: 'read', fix: 'consider it' },
      { id: 'jwks.keys', issuer: 'https://b.example', status: 'failed', found: 'none', fix: 'publish one' },
      { id: 'public.reachable', status: 'failed', found: 'no answer', fix: 'start it' },
    ])

    expect(lines.trimEnd().split('\n').at(-1)).toBe(
      '3 checks: 1 ✓, 2 ✗, 0 – left out. Begin with jwks.keys (https://b.example): publish one',
    )
  })

  it('names each check while it runs, and takes the last name back before the findings', async () => {
    const setup = await setUpDoctor()
    const told: unknown[] = []
    await runIn(argumentsOf(setup.options), {
      environment: setup.environment,
      progress: (text) => void told.push(text),
      print: (text) => void told.push(text),
    })

    const names = CHECK_IDS.slice(1)
    expect(told.slice(0, -2)).toEqual(names.map((id, index) => `${index + 1} of ${names.length}: ${id}`))
    expect(told.at(-2)).toBeUndefined()
    expect(told.at(-1)).toContain('✓ config: ')
  })

  const ESCAPE = '\u001b['
  const spawned = (env: Record<string, string>) => {
    const args = ['doctor', '--issuer', 'http://127.0.0.1:1', '--resource', 'http://127.0.0.1:1/mcp']
    return spawnSync(process.execPath, [path.join(ROOT, 'dist/cli/main.js'), ...args], { encoding: 'utf8', env })
  }

  it('has colours where they are wanted, and none in a pipe', () => {
    const [piped, coloured] = [spawned({}), spawned({ FORCE_COLOR: '1' })]

    expect(piped.stdout).not.toContain(ESCAPE)
    expect(coloured.stdout).toContain('\u001b[32m✓\u001b[39m config: ')
    expect(coloured.stdout).toContain('\u001b[31m✗\u001b[39m issuer.reachable: ')
    expect([piped.stderr, coloured.stderr]).toEqual(['', ''])
    expect(stripVTControlCharacters(coloured.stdout)).toBe(piped.stdout)
  })
})
