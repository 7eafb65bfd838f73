import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, onTestFinished } from 'vitest'
import type { Surroundings } from '../../src/cli/command-line.js'
import { importPython } from '../../src/cli/import-python/import-python.js'
import { callCommand, type Ran } from './command.js'
import { argumentsOf } from './doctor-setup.js'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { appPasswordWorld } from './login-visits.js'
import { addAccount, addToken } from './nextcloud/state.js'
import { failureOf } from './promises.js'
import { CANARY, LOST_PYTHON_KEY, PYTHON_KEY } from './python-server.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from './scripted-authorization-server.js'
import { openStore, type StoreAddress } from './stores.js'

const folder = mkdtempSync(path.join(tmpdir(), 'import-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
export const newFile = (): string => path.join(folder, `${(files += 1)}.db`)
const USER = '/ocs/v2.php/cloud/user?format=json'

/** Makes a file that holds a text, and returns its path. */
export function fileOf(text: string): string {
  const file = newFile()
  writeFileSync(file, text)
  return file
}

export const keyFile = (...keys: readonly string[]): string => fileOf(`${keys.join(',')}\n`)

/** Runs the command. Whatever it says, no secret is in it. */
export async function runImport(args: readonly string[], surroundings: Partial<Surroundings> = {}): Promise<Ran> {
  const ran = await callCommand(importPython, args, {
    environment: { TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY },
    ...surroundings,
  })
  for (const secret of [CANARY, ENCRYPTION_KEY, PYTHON_KEY, LOST_PYTHON_KEY, CLIENT_SECRET]) {
    expect((ran.output + ran.complaint).includes(secret), 'a secret in the output').toBe(false)
  }
  return ran
}

/** Lines of the report with a count: `imported` → 3, of both tables. */
export function counts({ output }: Ran): Record<string, number> {
  const lines = [...output.matchAll(/^ +(\d+) {2}([^:(\n]*?)(?::| \(|$)/gm)]
  return Object.fromEntries(lines.map(([, count, what]) => [what ?? '', Number(count)]))
}

/** A set-up in app-password mode whose Nextcloud knows the app passwords of the Python server. */
export async function importWorld(address: StoreAddress = { kind: 'SQLite', file: newFile() }) {
  const store = await openStore(address)
  onTestFinished(store.close)
  const made = await appPasswordWorld({ storage: store.adapter })
  for (const [uid, loginName = uid] of [['alice'], ['bob', 'bob@example.com'], ['carol'], ['dora'], ['ed']] as const) {
    addAccount(made.nextcloud.state, uid)
    const password = `${uid}-app-password-canary`
    addToken(made.nextcloud.state, { kind: 'app-password', uid, loginName, password, name: 'Python' })
  }
  const options = {
    storage: address.kind === 'SQLite' ? `sqlite:${address.file}` : address.url,
    issuer: made.as.issuer,
    resource: RESOURCE,
    'client-id': CLIENT_ID,
    'nextcloud-url': made.nextcloud.url,
    mode: 'app-password',
    clients: 'mcp-client',
    'key-file': keyFile(PYTHON_KEY),
  }
  return {
    ...made,
    options,
    import: (from: string, more: object = {}, surroundings?: Partial<Surroundings>, flags: readonly string[] = []) =>
      runImport([from, ...argumentsOf({ ...options, ...more }), ...flags], surroundings),
    /** The account that a tool acts as for a user, or why there is none. */
    act: async (subject: string, clientId = 'mcp-client') => {
      const info = await made.signIn({ sub: subject, client_id: clientId })
      const answer = await failureOf(
        made.auth.nextcloudFetch(info, USER).then(async (response) => {
          const { ocs } = (await response.json()) as { ocs: { data: { id?: string } } }
          throw Object.assign(new Error(), { account: ocs.data.id })
        }),
      )
      const { account, reason } = answer as { account?: string; reason?: string }
      return account ?? reason
    },
  }
}
