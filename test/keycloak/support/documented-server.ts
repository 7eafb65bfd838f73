import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { startNextcloud, type Nextcloud } from '../../../examples/demo/nextcloud.js'
import { listen } from '../../support/hosts.js'
import { startServer } from '../../support/server-process.js'
import { createRealm, type Realm } from './realm.js'

export const PAGE = fileURLToPath(new URL('../../../docs/keycloak.md', import.meta.url))
export const CALL_TOOL = fileURLToPath(new URL('../../../examples/keycloak/call-tool.mjs', import.meta.url))
/** In the repository, so that the program finds its packages, and this one by its name. */
const FOLDER = fileURLToPath(new URL('../../../.cache/', import.meta.url))

/** The server that the page shows, with all that it needs. */
export interface DocumentedServer {
  readonly resource: string
  readonly realm: Realm
  readonly nextcloud: Nextcloud
}

/** The snippets of the page in a language. */
export function snippets(language: string): string[] {
  const page = readFileSync(PAGE, 'utf8')
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, code = '']) => code)
}

/** Runs it in a process of its own as it stands on the page, but for its addresses, until the test ends. */
export async function startDocumentedServer(): Promise<DocumentedServer> {
  const placeholder = await listen(() => undefined)
  await placeholder.close()
  const origin = placeholder.url
  const resource = `${origin}/mcp`
  const realm = await createRealm({ MCP_RESOURCE: resource })
  const nextcloud = await startNextcloud({ issuer: realm.issuer, clientId: 'nextcloud' })
  onTestFinished(() => nextcloud.close())

  const [snippet = ''] = snippets('ts').filter((code) => code.includes('app.listen(3000)'))
  const here: Readonly<Record<string, string>> = {
    'https://idp.example.com/realms/acme': realm.issuer,
    'https://mcp.example.com/mcp': resource,
    'https://cloud.example.com': nextcloud.url,
    'app.listen(3000)': `app.listen(${new URL(origin).port}, '127.0.0.1')`,
  }
  const program = Object.entries(here).reduce((code, [shown, real]) => {
    if (!code.includes(shown)) throw new Error(`The page no longer says ${shown}`)
    return code.replaceAll(shown, real)
  }, snippet)
  mkdirSync(FOLDER, { recursive: true })
  const folder = mkdtempSync(path.join(FOLDER, 'documented-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  // A newcomer runs it without TypeScript.
  const file = path.join(folder, 'server.mjs')
  writeFileSync(file, program)
  const server = await startServer({
    name: 'documented',
    command: () => [process.execPath, file],
    environment: { OIDC_CLIENT_SECRET: realm.clientSecret },
    killSignal: 'KILL',
    answers: () => fetch(origin),
  })
  onTestFinished(() => server.stop())
  return { resource, realm, nextcloud }
}
