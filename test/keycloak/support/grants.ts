import { onTestFinished } from 'vitest'
import { systemClock, type Clock } from '../../../src/clock.js'
import { MemoryStorage, type McpAuthOptions, type StorageAdapter } from '../../../src/index.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from '../../support/grant-constants.js'
import { listen } from '../../support/hosts.js'
import { CLIENT_SECRET } from '../../support/scripted-authorization-server.js'
import { IMPORTED } from './keycloak-server.js'
import { openMiddleware } from './middleware.js'
import { createPerson } from './person.js'
import { createRealm, type Realm } from './realm.js'

export interface GrantSetupOptions {
  readonly storage?: StorageAdapter
  readonly clock?: Clock
  readonly auth?: McpAuthOptions
}

/** A realm whose MCP server has a secret that takes some encoding, and is the one of instances in other processes. */
export const realmForGrants = (): Promise<Realm> => createRealm({ MCP_SERVER_SECRET: CLIENT_SECRET })

/** An MCP server in refresh-token mode, whose users connect Nextcloud at Keycloak. */
export async function openGrants(realm: Realm, options: GrantSetupOptions = {}) {
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
  /** Of whom a token is wanted, as the MCP client of the tests has it. */
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
    /** A user opens the link and does what the pages ask. */
    connect: async (username: string, by = person(username)) =>
      by.walk(new URL(await auth.createConnectUrl(await who(username)))),
  }
}
