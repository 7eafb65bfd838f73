import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { inject } from 'vitest'
import { ADMINISTRATOR, IMPORTED, REALM_FILE } from './keycloak-server.js'

/** What Keycloak says of something in a realm, as its admin REST API has it. */
export type Representation = Record<string, unknown> & { readonly id: string }

/** A realm of a test's own, made of the file that the repository holds. */
export interface Realm {
  readonly issuer: string
  readonly password: string
  readonly clientSecret: string
  /** What an administrator does; paths are below the realm. */
  readonly admin: (method: string, path: string, body?: unknown) => Promise<unknown>
  readonly setRealm: (changes: Record<string, unknown>) => Promise<unknown>
  readonly client: (clientId: string) => Promise<Representation>
  readonly setClient: (clientId: string, changes: Record<string, unknown>) => Promise<unknown>
  readonly addDefaultScope: (clientId: string, scope: string) => Promise<unknown>
  readonly removeDefaultScope: (clientId: string, scope: string) => Promise<unknown>
  readonly user: (username: string) => Promise<Representation>
  readonly setUser: (username: string, changes: Record<string, unknown>) => Promise<unknown>
  /** "Logout all sessions" of a user: what was issued in an earlier second is no longer taken either. */
  readonly logOutEverywhere: (username: string) => Promise<unknown>
  /** Ends a user's sign-ins as the user's own sign-out does, and nothing else. */
  readonly signOut: (username: string) => Promise<unknown>
  /** "Revoke" on the tab "Consents" of a user. */
  readonly revokeConsent: (username: string, clientId: string) => Promise<unknown>
  /** Ids of the sessions behind a user's grants to a client that outlive the sign-in. */
  readonly offlineSessions: (username: string, clientId: string) => Promise<string[]>
}

const generated = (providerId: string, config: Record<string, readonly string[]> = {}) => ({
  name: providerId,
  providerId,
  config: { priority: ['100'], ...config },
})
/** The keys that Keycloak gives to a realm by itself, but for the one to encrypt with, which nobody needs and takes its time. */
const KEYS = {
  'org.keycloak.keys.KeyProvider': [
    generated('rsa-generated'),
    generated('aes-generated'),
    generated('hmac-generated', { algorithm: ['HS512'] }),
  ],
}

/** Options that stand for the placeholders of the file. */
export type RealmValues = Partial<typeof IMPORTED>

export async function createRealm(values: RealmValues = {}): Promise<Realm> {
  const name = `realm-${randomBytes(4).toString('hex')}`
  const placeholders: Record<string, string> = { ...IMPORTED, ...values }
  const file = readFileSync(REALM_FILE, 'utf8')
    .replaceAll(/\$\{([A-Z_]+)\}/g, (_match, placeholder: string) => placeholders[placeholder] ?? '')
    .replaceAll('default-roles-acme', `default-roles-${name}`)
  await request('POST', '/admin/realms', { ...(JSON.parse(file) as object), realm: name, components: KEYS })
  return realmNamed(name, placeholders)
}

/** A realm as Keycloak makes it, with nothing of ours. */
export async function createEmptyRealm(name: string): Promise<Realm> {
  await request('POST', '/admin/realms', { realm: name, enabled: true })
  return realmNamed(name, IMPORTED)
}

/** The realm that Keycloak imported when it started. Other tests use it too: do not change it. */
export const importedRealm = (): Realm => realmNamed('acme', IMPORTED)

/** One of that name, which is there already. */
export function realmNamed(name: string, values: Record<string, string>): Realm {
  const admin = (method: string, path: string, body?: unknown): Promise<unknown> =>
    request(method, `/admin/realms/${name}${path}`, body)
  const only = async (path: string): Promise<Representation> => {
    const [found] = (await admin('GET', path)) as Representation[]
    if (found === undefined) throw new Error(`Keycloak has nothing at ${path}`)
    return found
  }
  const client = (clientId: string) => only(`/clients?clientId=${encodeURIComponent(clientId)}`)
  const user = (username: string) => only(`/users?exact=true&username=${username}`)
  const defaultScope = async (method: string, clientId: string, scope: string): Promise<unknown> => {
    const scopes = (await admin('GET', '/client-scopes')) as Representation[]
    const id = scopes.find((one) => one['name'] === scope)?.id ?? ''
    return admin(method, `/clients/${(await client(clientId)).id}/default-client-scopes/${id}`)
  }
  return {
    issuer: `${inject('keycloak').url}/realms/${name}`,
    password: values['USER_PASSWORD'] ?? '',
    clientSecret: values['MCP_SERVER_SECRET'] ?? '',
    admin,
    setRealm: (changes) => admin('PUT', '', changes),
    client,
    async setClient(clientId, changes) {
      const known = await client(clientId)
      const attributes = { ...(known['attributes'] as object), ...(changes['attributes'] as object | undefined) }
      return admin('PUT', `/clients/${known.id}`, { ...known, ...changes, attributes })
    },
    addDefaultScope: (clientId, scope) => defaultScope('PUT', clientId, scope),
    removeDefaultScope: (clientId, scope) => defaultScope('DELETE', clientId, scope),
    user,
    async setUser(username, changes) {
      const known = await user(username)
      return admin('PUT', `/users/${known.id}`, { ...known, ...changes })
    },
    async logOutEverywhere(username) {
      const { id } = await user(username)
      const second = Math.floor(Date.now() / 1_000)
      while (Date.now() < (second + 1) * 1_000) await new Promise((resolve) => setTimeout(resolve, 50))
      return admin('POST', `/users/${id}/logout`)
    },
    async signOut(username) {
      const sessions = (await admin('GET', `/users/${(await user(username)).id}/sessions`)) as Representation[]
      return Promise.all(sessions.map(({ id }) => admin('DELETE', `/sessions/${id}`)))
    },
    revokeConsent: async (username, clientId) =>
      admin('DELETE', `/users/${(await user(username)).id}/consents/${clientId}`),
    async offlineSessions(username, clientId) {
      const path = `/users/${(await user(username)).id}/offline-sessions/${(await client(clientId)).id}`
      return ((await admin('GET', path)) as Representation[]).map(({ id }) => id)
    },
  }
}

let administrator: { readonly token: string; readonly until: number } | undefined

/** Keycloak's own tokens for administrators live for a minute. */
async function administratorToken(): Promise<string> {
  if (administrator !== undefined && Date.now() < administrator.until) return administrator.token
  const response = await fetch(`${inject('keycloak').url}/realms/master/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', ...ADMINISTRATOR }),
  })
  const { access_token: token } = (await response.json()) as { access_token: string }
  administrator = { token, until: Date.now() + 30_000 }
  return token
}

async function request(method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(inject('keycloak').url + path, {
    method,
    headers: { authorization: `Bearer ${await administratorToken()}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`Keycloak answers ${response.status} to ${method} ${path}: ${text}`)
  return text === '' ? undefined : (JSON.parse(text) as unknown)
}
