import { onTestFinished } from 'vitest'
import { systemClock, type Clock } from '../../../src/clock.js'
import { MemoryStorage, type McpAuthOptions, type StorageAdapter } from '../../../src/index.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from '../../support/grant-constants.js'
import { listen } from '../../support/hosts.js'
import { CLIENT_SECRET } from '../../support/scripted-authorization-server.js'
import { IMPORTED } from './keycloak-server.js'
import { openMiddleware, type Middleware } from './middleware.js'
import { createPerson, type PageSeen, type Person } from './person.js'
import { createRealm, type Realm } from './realm.js'

/** An MCP server in refresh-token mode, whose users connect Nextcloud at Keycloak. */
export interface GrantSetup extends Middleware {
  /** Of whom a token is wanted, as the MCP client of the tests has it. */
  readonly who: (username: string) => Promise<Who>
  readonly person: (username: string) => Person
  /** A user opens the link and does what the pages ask. */
  readonly connect: (username: string, person?: Person) => Promise<PageSeen>
}

interface Who {
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
}

export interface GrantSetupOptions {
  readonly storage?: StorageAdapter
  readonly clock?: Clock
  readonly auth?: McpAuthOptions
}

/** A realm whose MCP server has a secret that takes some encoding, and is the one of instances in other processes. */
export const realmForGrants = (): Promise<Realm> => createRealm({ MCP_SERVER_SECRET: CLIENT_SECRET })

export async function openGrants(realm: Realm, options: GrantSetupOptions = {}): Promise<GrantSetup> {
  const { storage = new MemoryStorage(), clock = systemClock, auth: more } = options
  const { auth, events } = openMiddleware(realm, { storage, encryptionKey: ENCRYPTION_KEY, ...more }, clock)
  const routes = auth.routes()
  const app = await listen((req, res) => routes(req, res, () => res.writeHead(404).end()))
  onTestFinished(app.close)
  const person = (username: string) =>
    createPerson({
      username,
      password: realm.password,
      hosts: { [new URL(IMPORTED.MCP_RESOURCE).origin]: app.url },
    })
  const who = async (username: string) => ({
    issuer: realm.issuer,
    subject: (await realm.user(username)).id,
    clientId: MCP_CLIENT,
  })
  return {
    auth,
    events,
    who,
    person,
    connect: async (username, by = person(username)) =>
      by.walk(new URL(await auth.createConnectUrl(await who(username)))),
  }
}
