import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { signingKeys } from '../../support/nextcloud/oidc-app.js'
import { startStandIn, type NextcloudStandIn } from '../../support/nextcloud/stand-in.js'

const run = promisify(execFile)

export interface Account {
  readonly uid: string
  readonly password: string
}

/** The Nextcloud that the suite runs against. What is changed in it is put back by `close()`, the last change first. */
export interface Target {
  readonly url: string
  readonly isReal: boolean
  readonly admin: Account
  readonly standIn: NextcloudStandIn | undefined
  /** Runs a command of `occ`; its output. */
  readonly occ: (...args: readonly string[]) => Promise<string>
  /** The same with `OC_PASS`. */
  readonly occWith: (password: string, ...args: readonly string[]) => Promise<string>
  readonly createAccount: () => Promise<Account>
  /** Sets a value of config.php for the time of the test. Members of a list are named as `occ` names them. */
  readonly setSystem: (names: readonly string[], value: string, type?: 'boolean') => Promise<void>
  /** Runs this when the target is closed. */
  readonly after: (undo: () => unknown) => void
  /** Undoes what was done since, whatever becomes of `act`. */
  readonly during: <T>(begin: readonly string[], end: readonly string[], act: () => Promise<T>) => Promise<T>
  /** Runs this while Nextcloud takes its name from requests, as it does where nobody has set `overwritehost`. */
  readonly namedByRequests: <T>(act: () => Promise<T>) => Promise<T>
  readonly close: () => Promise<void>
}

const ADMIN = { uid: 'admin', password: 'wonderland-for-tests' }

let opened: Target | undefined

/** Puts everything back. For `afterAll()`, since hooks that fail have changed something too. */
export async function closeTarget(): Promise<void> {
  await opened?.close()
}

/** `NEXTCLOUD_URL`, `NEXTCLOUD_OCC` and `NEXTCLOUD_ADMIN` say which; without them it is the stand-in. */
export async function openTarget(): Promise<Target> {
  const { NEXTCLOUD_URL: url, NEXTCLOUD_OCC: occ = '', NEXTCLOUD_ADMIN: admin = '' } = process.env
  const standIn = url === undefined ? await startStandIn() : undefined
  if (standIn !== undefined) {
    standIn.state.settings.trustedDomains = ['127.0.0.1']
    await signingKeys()
  }
  if (url !== undefined && (occ === '' || !admin.includes(':')))
    throw new Error('With NEXTCLOUD_URL, NEXTCLOUD_OCC (a command) and NEXTCLOUD_ADMIN (user:password) are needed too')
  const [uid = '', password = ''] = admin.split(/:(.*)/s)
  const undos: (() => unknown)[] = []
  const call = standIn === undefined ? realOcc(occ) : standInOcc(standIn)
  const target: Target = {
    url: (url ?? standIn?.url ?? '').replace(/\/$/, ''),
    isReal: standIn === undefined,
    admin: standIn === undefined ? { uid, password } : ADMIN,
    standIn,
    occ: (...args) => call(args),
    occWith: (secret, ...args) => call(args, { OC_PASS: secret }),
    createAccount: () => createAccount(target),
    setSystem: (names, value, type) => setSystem(target, names, value, type),
    after: (undo) => void undos.push(undo),
    async during(begin, end, act) {
      await target.occ(...begin)
      try {
        return await act()
      } finally {
        await target.occ(...end)
      }
    },
    async namedByRequests(act) {
      const name = standIn === undefined ? await target.occ('config:system:get', 'overwritehost').catch(() => '') : ''
      if (name === '') return act()
      return target.during(
        ['config:system:delete', 'overwritehost'],
        ['config:system:set', 'overwritehost', `--value=${name}`],
        act,
      )
    },
    async close() {
      const failures: unknown[] = []
      for (const undo of undos.splice(0).reverse())
        await Promise.resolve(undo()).catch((error: unknown) => failures.push(error))
      await standIn?.close()
      if (failures.length > 0) throw new AggregateError(failures, 'Not everything could be put back')
    },
  }
  opened = target
  await nameItself(target)
  return target
}

type Occ = (args: readonly string[], environment?: Record<string, string>) => Promise<string>

const standInOcc =
  ({ occ }: NextcloudStandIn): Occ =>
  async (args, environment) =>
    Promise.resolve(occ(args, environment))

/** Attempts at a command while SQLite below Nextcloud is busy with others, and the pause between them in milliseconds. */
const ATTEMPTS = 5
const PAUSE = 2_000

function realOcc(command: string): Occ {
  const [program = '', ...first] = command.split(' ')
  async function call(
    args: readonly string[],
    environment: Record<string, string> = {},
    left = ATTEMPTS,
  ): Promise<string> {
    const options = { env: { ...process.env, ...environment }, maxBuffer: 16 * 1_048_576 }
    try {
      return (await run(program, [...first, ...args, '--no-interaction', '--no-warnings'], options)).stdout.trim()
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string }
      const output = (stdout + stderr).trim()
      // An account is changed before its avatar, which fails where PHP's GD has no FreeType.
      if (output.includes('/Avatar.php:')) return ''
      if (!output.includes('database is locked') || left === 1)
        throw new Error(`occ ${args[0] ?? ''} failed: ${output.slice(0, 300)}`, { cause: error })
      await new Promise((resolve) => setTimeout(resolve, PAUSE))
      return call(args, environment, left - 1)
    }
  }
  return call
}

/** Nextcloud's links, and the issuer of the app `oidc`, follow the host name that it believes to have: here, the one it is asked by. */
async function nameItself(target: Target): Promise<void> {
  const response = await fetch(`${target.url}/index.php/login/v2`, { method: 'POST' })
  const { login } = (await response.json()) as { login: string }
  const { host } = new URL(target.url)
  if (new URL(login).host !== host) await target.setSystem(['overwritehost'], host)
}

async function createAccount(target: Target): Promise<Account> {
  const account = { uid: `mcp-test-${randomBytes(4).toString('hex')}`, password: randomBytes(18).toString('base64url') }
  target.after(() => target.occ('user:delete', account.uid))
  await target.occWith(account.password, 'user:add', '--password-from-env', account.uid)
  return account
}

async function setSystem(target: Target, names: readonly string[], value: string, type?: 'boolean'): Promise<void> {
  const before = await target.occ('config:system:get', ...names).catch(() => '')
  const typed = type === undefined ? [] : [`--type=${type}`]
  target.after(() =>
    before === ''
      ? target.occ('config:system:delete', ...names)
      : target.occ('config:system:set', ...names, `--value=${before}`, ...typed),
  )
  await target.occ('config:system:set', ...names, `--value=${value}`, ...typed)
}
