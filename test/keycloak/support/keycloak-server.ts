import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type RunningServer, startServer } from '../../support/server-process.js'
import { keycloakHome } from './distribution.js'

/** A Keycloak with data of its own, in which the realm that the repository holds was imported. */
export interface KeycloakServer extends RunningServer {
  readonly url: string
  /** The distribution that it runs from. */
  readonly home: string
}

/** Who may change everything in it; it listens on loopback, for as long as the tests run. */
export const ADMINISTRATOR = { username: 'admin', password: 'only-for-these-tests' }

/** What the placeholders of the imported realm stand for. */
export const IMPORTED = {
  MCP_RESOURCE: 'https://mcp.example.com/mcp',
  MCP_REDIRECT_URI: 'https://mcp.example.com/nextcloud/callback',
  MCP_SERVER_SECRET: 'only-for_these.tests',
  NEXTCLOUD_URL: 'https://cloud.example.com',
  NEXTCLOUD_SECRET: 'nextcloud-for-these-tests',
  USER_PASSWORD: 'wonderland',
}

export const REALM_FILE = fileURLToPath(new URL('../../../examples/keycloak/realm.json', import.meta.url))

/** Milliseconds. The first start of a distribution also builds it. */
const PATIENCE = 240_000

export async function startKeycloak(): Promise<KeycloakServer> {
  const home = await keycloakHome()
  const server = await startServer({
    name: 'keycloak',
    prepare: (directory) => Promise.resolve(layOut(home, directory)),
    command: (port, directory) => [
      ...[path.join(directory, 'bin', 'kc.sh'), 'start-dev', '--import-realm', '--cache=local'],
      ...['--http-host=127.0.0.1', `--http-port=${port}`, '--log-level=warn'],
    ],
    environment: {
      KC_BOOTSTRAP_ADMIN_USERNAME: ADMINISTRATOR.username,
      KC_BOOTSTRAP_ADMIN_PASSWORD: ADMINISTRATOR.password,
      JAVA_OPTS_KC_HEAP: '-Xms64m -Xmx512m',
      // It lives for minutes: what the second compiler costs is not won back.
      JAVA_OPTS_APPEND: '-XX:TieredStopAtLevel=1',
      ...IMPORTED,
    },
    // kc.sh hands it on to Java.
    killSignal: 'TERM',
    patience: PATIENCE,
    async answers(port) {
      const response = await fetch(`http://127.0.0.1:${port}/realms/acme/.well-known/openid-configuration`)
      if (!response.ok) throw new Error(`status ${response.status}`)
    },
  })
  return { ...server, home, url: `http://127.0.0.1:${server.port}` }
}

/** A Keycloak's home has the program and the data in it: the program from the distribution, the data in this folder. */
function layOut(home: string, directory: string): void {
  mkdirSync(path.join(directory, 'bin'))
  mkdirSync(path.join(directory, 'data', 'import'), { recursive: true })
  const script = path.join(directory, 'bin', 'kc.sh')
  copyFileSync(path.join(home, 'bin', 'kc.sh'), script)
  chmodSync(script, 0o755)
  for (const part of ['lib', 'conf', 'providers', 'themes']) {
    symlinkSync(path.join(home, part), path.join(directory, part))
  }
  copyFileSync(REALM_FILE, path.join(directory, 'data', 'import', 'realm.json'))
}
