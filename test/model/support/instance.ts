import type { IncomingMessage } from 'node:http'
import { createBroker, type BrokerSession } from '../../../src/broker/broker.js'
import { createDeletions, type Deletions } from '../../../src/broker/deletions.js'
import { createDisconnect } from '../../../src/broker/disconnect.js'
import { createTokenCache } from '../../../src/broker/token-cache.js'
import type { Config } from '../../../src/config/config.js'
import { readConfig } from '../../../src/config/read-config.js'
import type { PageRooms } from '../../../src/connect/connect-rooms.js'
import { createLoginAnswers } from '../../../src/connect/login-answers.js'
import { redeemNoted } from '../../../src/connect/noted-tokens.js'
import { storeGrant } from '../../../src/connect/store-grant.js'
import { createEvents } from '../../../src/events.js'
import { createGrants, type Grants } from '../../../src/grants/open-grants.js'
import type { McpAuthOptions } from '../../../src/index.js'
import type { Secret } from '../../../src/nextcloud/credential.js'
import type { FreshCredentials } from '../../../src/nextcloud/fresh-credentials.js'
import type { CodeShares } from '../../../src/local-options.js'
import { createSignIns } from '../../../src/nextcloud/sign-ins.js'
import { ENCRYPTION_KEY } from '../../support/grant-constants.js'
import { clockOf, type Scheduler } from './scheduler.js'
import { ISSUER, type ModelServer, type Spend } from './server.js'
import type { ModelStore } from './store.js'
import { createUnderWay } from '../../../src/under-way.js'

/** What grants are of: refresh tokens that a server revokes, refresh tokens that Nextcloud itself ends, app passwords. */
export type Kind = 'revoked' | 'ends alone' | 'app password'

const NEXTCLOUDS: Readonly<Record<Kind, McpAuthOptions['nextcloud']>> = {
  revoked: { url: 'https://cloud.example.com', mode: 'refresh-token' },
  'ends alone': { url: 'https://cloud.example.com', mode: 'refresh-token', preset: 'nextcloud-oauth2-app' },
  'app password': { url: 'https://cloud.example.com', mode: 'app-password' },
}

const NO_STORE = {
  shared: true,
  get: () => Promise.resolve(undefined),
  put: () => Promise.resolve(null),
  delete: () => Promise.resolve(false),
}

/** Milliseconds for which Nextcloud knows a login. */
const LOGIN_LIFE = 20 * 60_000

const configs = new Map<Kind, Config>()

function configOf(kind: Kind): Config {
  const known = configs.get(kind)
  if (known !== undefined) return known
  const options = {
    issuer: ISSUER,
    resource: 'https://mcp.example.com/mcp',
    clientId: 'mcp-server',
    clientSecret: 'a secret',
    nextcloud: NEXTCLOUDS[kind],
    storage: NO_STORE,
    encryptionKey: ENCRYPTION_KEY,
    connect: { identity: 'anyone', returnTo: 'https://app.example.com/' },
  } as const
  const config = readConfig(options, {})
  configs.set(kind, config)
  return config
}

/** Nothing of the request matters once the operator has a page of their own. */
/** The model's server refuses as much as it likes. */
const UNCOUNTED: Pick<CodeShares, 'sendAgain' | 'refresh' | 'refreshToEnd'> = {
  sendAgain: (redeem) => redeem(),
  refresh: (_, send) => send(),
  refreshToEnd: (_, send) => send(),
}
const NO_REQUEST = {} as unknown as IncomingMessage

/** What a process does, with the real rooms. Who calls it is a user of one MCP client. */
export interface Instance {
  readonly name: string
  readonly grants: Grants
  readonly deletions: Deletions
  readonly getSecret: (user: string, client: string, forceRefresh?: boolean) => Promise<Secret>
  /** Gets another secret in place of one that Nextcloud refuses. */
  readonly replaceSecret: (user: string, client: string, refused: Secret) => Promise<Secret | undefined>
  readonly rotate: (user: string) => Promise<void>
  /** Resolves to `pending` if the credential could not be ended yet. */
  readonly disconnect: (user: string, client?: string) => Promise<unknown>
  /** From the "yes" of a user to the connection. False: the user has taken it back since. */
  readonly connect: (user: string, client: string, heard: Heard) => Promise<boolean>
  /** A "no" after the yes. */
  readonly withdraw: (user: string, client: string) => Promise<unknown>
}

/** Moments of a connection: the "yes" of the user counts from then on, and the credential is there. */
export interface Heard {
  readonly agreed: () => void
  readonly given: () => void
}

/** The parts of the world that an instance is in. */
export interface Surroundings {
  readonly kind: Kind
  readonly scheduler: Scheduler
  readonly store: ModelStore
  readonly server: ModelServer
  readonly random: () => number
  readonly onSend: (spend: Spend) => void
}

export function createInstance(name: string, world: Surroundings): Instance {
  const { kind, scheduler, server, random } = world
  const config = configOf(kind)
  const { nextcloud, grants: stored } = config
  if (nextcloud === undefined || stored === undefined) throw new Error('The mode keeps grants')
  const clock = clockOf(scheduler, name, random)
  const events = createEvents(() => undefined, clock)
  const storage = world.store.of(name)
  const grants = createGrants({ config, grants: stored, storage, clock, events })
  const client = server.client(name, world.onSend) as Parameters<typeof createBroker>[0]['client']
  const codeGrant = server.codeGrant(name)
  const appPasswords = server.appPasswords(name)
  const signIns = createSignIns(clock)
  const freshCredentials = { endToken: server.endToken(name) } as FreshCredentials
  const tokens = createTokenCache(100, () => undefined)
  const ofServer = { config, nextcloud, client, appPasswords, signIns, codes: UNCOUNTED }
  const broker = createBroker({ ...ofServer, grants, clock, events, tokens, underWay: createUnderWay() })
  const deletions = createDeletions({
    ...{ grants, appPasswords, freshCredentials, signIns, clock, events },
    serverOf: () => ({ client, codeGrant, issuer: () => ISSUER }),
    endsAlone: stored.endsAlone,
    codes: UNCOUNTED,
  })
  grants.whenUsed(deletions.look)
  grants.whenLate(deletions.takeOver)
  const disconnect = createDisconnect({ grants, deletions, broker, events })
  const rooms = {
    ...{ config, nextcloud, connect: stored.connect, grants, broker, deletions, freshCredentials, events, clock },
    answers: { note: () => Promise.resolve() },
    onConnected: () => undefined,
    failed: () => ({ page: {} }),
    pages: { withdrawn: () => ({}), noRefreshToken: () => ({}) },
  } as unknown as PageRooms
  const logins = createLoginAnswers({
    ...{ grants, deletions, clock, events },
    appPasswords: { nextcloud: nextcloud.base },
    records: { replace: () => Promise.resolve(true) },
    patience: config.http.timeout,
    whyNot: () => Promise.resolve(undefined),
    report: () => undefined,
    onConnected: () => undefined,
  })
  const sessions = new Map<string, BrokerSession>()
  const sessionOf = (user: string, clientId: string | undefined): BrokerSession => {
    const key = JSON.stringify([user, clientId])
    const caller = { token: '', identity: of(user), clientId, audience: [], expiresAt: Infinity }
    const session = sessions.get(key) ?? { caller, scopes: () => nextcloud.fixedScopes }
    sessions.set(key, session)
    return session
  }

  async function connect(user: string, clientId: string, heard: Heard): Promise<boolean> {
    const identity = of(user)
    const withdrawals = await grants.store.withdrawals(identity)
    heard.agreed()
    const purpose = { identity, clientId, withdrawals }
    if (kind === 'app password') {
      const answer = await server.newAppPassword(name, user)
      heard.given()
      const endsAt = clock.now() + LOGIN_LIFE
      const record = {
        key: '',
        version: '',
        value: { ...purpose, login: '', pollToken: '', endsAt },
        expiresAt: endsAt,
      }
      return (await logins.take(answer.password, record, answer)).outcome === 'connected'
    }
    const code = server.newCode(user)
    const brought = {
      as: { issuer: ISSUER },
      parameters: new URLSearchParams({ code }),
      verifier: 'verifier',
      identity,
    }
    const given = await redeemNoted({ ...rooms, codeGrant }, brought)
    heard.given()
    return 'returnTo' in (await storeGrant(rooms, NO_REQUEST, purpose, given))
  }

  return {
    name,
    grants,
    deletions,
    getSecret: async (user, client, forceRefresh) =>
      broker.getSecret(sessionOf(user, client), forceRefresh === true ? { forceRefresh } : undefined),
    replaceSecret: (user, client, refused) => broker.replaceSecret(sessionOf(user, client), refused),
    rotate: (user) => broker.rotate(sessionOf(user, undefined)),
    disconnect: (user, client) => disconnect(of(user), client),
    connect,
    withdraw: (user, client) => grants.store.withdraw(of(user), client),
  }
}

const of = (subject: string) => ({ issuer: ISSUER, subject })
