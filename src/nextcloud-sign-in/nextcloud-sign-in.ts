import type { IncomingMessage } from 'node:http'
import { createDiscovery } from '../authorization-server/discovery.js'
import { systemClock, type Clock } from '../clock.js'
import type { Config, ConnectConfig, GrantsConfig, NextcloudConfig } from '../config/config.js'
import { readConfig } from '../config/read-config.js'
import { createCodeShares } from '../connect/code-shares.js'
import { createFlowCookies } from '../connect/cookies.js'
import { createOneTimeRecords } from '../connect/one-time.js'
import { createPages } from '../connect/pages/pages.js'
import { asMcpAuthError, ConfigurationError, InternalError, UpstreamUnavailableError } from '../errors/errors.js'
import { createEvents, reportFailure, type Events } from '../events.js'
import type { Identity } from '../grants/grant.js'
import { createGrants } from '../grants/open-grants.js'
import { createNetworkShares } from '../http/address-shares.js'
import type { ConnectHandler } from '../http/router.js'
import { createMcpAuth, type McpAuth } from '../mcp-auth.js'
import { LOCAL_ANSWERS, OWN_SIGN_IN, type CodeShares, type LocalOptions, type OwnSignIn } from '../local-options.js'
import type { McpAuthOptions } from '../options.js'
import { MemoryStorage } from '../storage/memory.js'
import type { StorageAdapter } from '../storage-adapter.js'
import { createPublicDocuments, type FetchPublicDocument } from '../transport/public-document.js'
import { createTransport } from '../transport/transport.js'
import { createUnderWay } from '../under-way.js'
import { createKeyRing, type ReadKeyRing } from './key-ring.js'
import { localAnswers } from './local-answers.js'
import { createModelAdapters } from './model-adapter.js'
import { createRefreshShares, reuseOf } from './refresh-tokens.js'
import { createProviders, type Library, type ProviderRooms, type RegisteredClient } from './provider.js'
import { createOwnSignIn, userAt } from './own-sign-in.js'
import { checkClients } from './redirect-uri.js'
import { createQuestionCookies } from './question-cookies.js'
import { registrationShares } from './registration.js'
import { createSignInRoutes } from './routes.js'
import { errorPages } from './error-pages.js'
import { createSignInPages } from './sign-in-pages.js'
import type { SignInRooms } from './sign-in-rooms.js'
import { createTokenRooms } from './token-rooms.js'
import { hasAgreed, isConnected, standingOf } from './still-connected.js'
import { createKeeping, createUnusedClients } from './unused-clients.js'
import { clientNaming, createClientDocuments } from './client-documents.js'

/** Options of `nextcloudSignIn()`. */
export interface NextcloudSignInOptions extends Pick<
  McpAuthOptions,
  'encryptionKey' | 'storage' | 'resourceName' | 'onEvent' | 'http'
> {
  /** Canonical URI of this MCP server (RFC 8707), as MCP clients know it. Its origin is the issuer. Required. */
  readonly resource: string
  /** The Nextcloud in which people sign in. Required. */
  readonly nextcloud: {
    /** Base URL, may have a path. Required. */
    readonly url: string | URL
    /** URL at which browsers reach it. Default: `url`. */
    readonly publicUrl?: string | URL | undefined
    /** Id and secret of this server in Nextcloud: Administration settings, Security, OAuth 2.0 clients. Required. */
    readonly clientId: string
    readonly clientSecret: string
  }
  /**
   * The scopes of this server, each with a sentence that tells people what it lets an app do. A client that asks for none is asked
   * about all of them. Default: one, `nextcloud`.
   */
  readonly scopes?: Readonly<Record<string, string>> | undefined
  /** MCP clients that are registered by hand, beside those that register themselves. Default `[]`. */
  readonly clients?: readonly RegisteredClient[] | undefined
}

/** An authorization server for one Nextcloud, where signing in is connecting. */
export interface NextcloudSignIn {
  /** Options for `mcpAuth()` on the same server: issuer, resource, and refresh-token mode on the same storage. */
  readonly options: McpAuthOptions
  /**
   * Returns a handler for metadata, registration, authorization, tokens and the pages of the sign-in. Mount it before `auth.routes()`,
   * at the root of the app. Everything else passes on.
   */
  readonly routes: () => ConnectHandler
  /**
   * Waits, for at most one and a half times `http.timeout`, for sign-ins, requests for tokens and writes under way, then closes this
   * package's own connections. The storage stays open, because it is the app's: close it afterwards.
   */
  readonly close: () => Promise<void>
}

const DEFAULT_SCOPES = { nextcloud: 'Read and change in your Nextcloud what you can read and change there yourself' }

/**
 * Builds an OAuth authorization server for people who have a Nextcloud and no identity provider. MCP clients register themselves, people
 * sign in at Nextcloud by its own app `oauth2`, and the tokens of that sign-in are their connection.
 *
 * The optional peer `oidc-provider` does all that is OAuth. Keys are made, and kept sealed in the storage.
 *
 * @param options see {@link NextcloudSignInOptions}
 * @throws {ConfigurationError} an option is missing, of the wrong type or contradicts another, or `oidc-provider` is not installed
 * @throws {StorageError} the storage cannot be reached
 *
 * @example
 * import Database from 'better-sqlite3'
 * import express from 'express'
 * import { mcpAuth } from 'mcp-nextcloud-auth'
 * import { nextcloudSignIn } from 'mcp-nextcloud-auth/authorization-server'
 * import { SqliteStorage } from 'mcp-nextcloud-auth/sqlite'
 *
 * const signIn = await nextcloudSignIn({
 *   resource: 'https://mcp.example.com/mcp',
 *   nextcloud: {
 *     url: 'https://cloud.example.com',
 *     clientId: process.env.NEXTCLOUD_OIDC_CLIENT_ID ?? '',
 *     clientSecret: process.env.NEXTCLOUD_OIDC_CLIENT_SECRET ?? '',
 *   },
 *   storage: new SqliteStorage(new Database('sign-in.db')),
 *   encryptionKey: process.env.TOKEN_ENCRYPTION_KEY,
 * })
 * const auth = mcpAuth(signIn.options)
 * const app = express()
 * app.use(signIn.routes())
 * app.use(auth.routes())
 * app.all('/mcp', auth, (req, res) => void res.json(req.mcpAuth?.subject))
 */
export function nextcloudSignIn(options: NextcloudSignInOptions): Promise<NextcloudSignIn> {
  return createNextcloudSignIn(options, systemClock)
}

/** @internal The same, with a clock of its own, and with a way of its own to client metadata documents. */
export async function createNextcloudSignIn(
  given: NextcloudSignInOptions,
  clock: Clock,
  fetchDocument?: FetchPublicDocument,
): Promise<NextcloudSignIn> {
  checkClients(given.clients ?? [])
  const library = await loadLibrary()
  const scopes = new Map(Object.entries(given.scopes ?? DEFAULT_SCOPES))
  const storage = given.storage ?? new MemoryStorage()
  const codes = createCodeShares(clock)
  const known: { parts?: { readonly rooms: SignInRooms; readonly readKeys: ReadKeyRing } } = {}
  const built = () => {
    if (known.parts === undefined) throw new InternalError('The rooms are not built')
    return known.parts
  }
  const options = optionsFor({ ...given, storage }, [...scopes.keys()], {
    local: (url) => localAnswers(issuerOf(given), built().readKeys)(url),
    userAt: async (req) => userAt(built().rooms, req),
    signIn: createOwnSignIn(() => built().rooms, codes),
  })
  const auth = createMcpAuth(options, clock)
  const { rooms, readKeys, close } = build({
    given,
    options,
    storage,
    clock,
    library,
    scopes,
    auth,
    codes,
    fetchDocument,
  })
  known.parts = { rooms, readKeys }
  await readKeys()
  return {
    options,
    routes: () => createSignInRoutes(rooms),
    close: async () => {
      await close()
      // Last, because the sign-in asks it how a connection stands.
      await auth.close()
    },
  }
}

const issuerOf = ({ resource }: Pick<NextcloudSignInOptions, 'resource'>): string => new URL(resource).origin

async function loadLibrary(): Promise<Library> {
  try {
    return await import('oidc-provider')
  } catch (error) {
    throw Object.assign(
      new ConfigurationError(
        'nextcloudSignIn needs the package oidc-provider: npm install oidc-provider',
        'oidc-provider',
      ),
      { cause: error },
    )
  }
}

interface Inside {
  readonly local: NonNullable<LocalOptions[typeof LOCAL_ANSWERS]>
  readonly userAt: (req: IncomingMessage) => Promise<Identity | undefined>
  /** Undefined: there are no pages. */
  readonly signIn?: OwnSignIn
}

/** @internal Returns the options of the resource server beside this authorization server. */
export function optionsFor(
  { resource, nextcloud, storage, encryptionKey, resourceName, onEvent, http, clients = [] }: NextcloudSignInOptions,
  scopes: readonly string[],
  { local, userAt: authenticateBrowser, signIn }: Inside,
): LocalOptions {
  const { url, publicUrl, clientId, clientSecret } = nextcloud
  const names = new Map(clients.map((client) => [client.clientId, client.clientName ?? client.clientId]))
  return {
    issuer: issuerOf({ resource }),
    resource,
    clientId,
    clientSecret,
    scopesSupported: scopes,
    nextcloud: { url, publicUrl, mode: 'refresh-token', preset: 'nextcloud-oauth2-app' },
    storage,
    encryptionKey,
    connect: { authenticateBrowser, identity: 'sub', clientName: (id) => names.get(id) },
    resourceName,
    onEvent,
    http,
    [LOCAL_ANSWERS]: local,
    [OWN_SIGN_IN]: signIn,
  }
}

interface Parts {
  readonly given: NextcloudSignInOptions
  readonly options: McpAuthOptions
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly library: Library
  readonly scopes: ReadonlyMap<string, string>
  readonly auth: McpAuth
  readonly codes: CodeShares
  readonly fetchDocument: FetchPublicDocument | undefined
}

function build({ given, options, storage, clock, library, scopes, auth, codes, fetchDocument }: Parts) {
  const config = readConfig(options)
  const { nextcloud, grants: stored, connect } = needed(config)
  const issuer = new URL(issuerOf(given))
  const events = createEvents(config.onEvent, clock, config.ownSignIn?.watchers)
  const transport = createTransport(config.http, clock, events)
  const discovery = createDiscovery(config, transport, clock)
  const underWay = createUnderWay()
  const grants = createGrants({ config, grants: stored, storage, clock, events, underWay })
  const ofRecords = { records: grants.records, owner: grants.owner, clock }
  const readKeys = createKeyRing(ofRecords)
  const names = {
    serverName: config.resourceName ?? new URL(config.resource).host,
    nextcloudHost: nextcloud.publicUrl.host,
  }
  const pages = createPages({ ...names, steps: ['sign-in'] })
  const signInPages = createSignInPages({ ...names, redirectUri: connect.redirectUri })
  const unusedClients = createUnusedClients(ofRecords)
  const connected: ProviderRooms['isConnected'] = (subject, used) =>
    isConnected({ grants, clock, auth, config, nextcloud }, { issuer: issuer.origin, subject }, used)
  const fetching = fetchDocument ?? createPublicDocuments(config.http, clock)
  const documents = createClientDocuments(fetching, clock, reportSilence(events))
  const cookies = createFlowCookies(issuer.protocol === 'https:')
  const questions = createQuestionCookies(cookies, readKeys)
  const authorizations = createNetworkShares(clock, MOST_AUTHORIZATIONS, 10 * MINUTE)
  const provider = createProviders({
    library,
    issuer: issuer.origin,
    resource: config.resource,
    scopes: [...scopes.keys()],
    clients: given.clients ?? [],
    adapter: createModelAdapters({ ...ofRecords, errors: library.errors }),
    readKeys,
    questions,
    isConnected: connected,
    documents,
    takeRefresh: createRefreshShares(clock),
    onAsked: unusedClients.asked,
    // Else anybody could close the door with requests that cost nothing.
    onNothingAsked: authorizations.giveBack,
    onError: (error) => reportFailure(events, asMcpAuthError(error)),
    onUse: createKeeping({ ...ofRecords, unusedClients, documents }, grants.background),
    onReuse: (token) => events.emit(reuseOf(token)),
    hasAgreed: (subject, clientId, session) =>
      hasAgreed({ grants }, { issuer: issuer.origin, subject }, { clientId, session }),
    showError: errorPages(signInPages),
  })
  const tokenRooms = createTokenRooms({
    ...{ config, nextcloud, connect, stored, grants, issuer, codes },
    ...{ discovery, transport, clock, events },
  })
  const rooms: SignInRooms = {
    config,
    nextcloud,
    connect,
    issuer,
    scopes,
    provider,
    nameOf: clientNaming({ config, connect, events, clock, provider, documents }),
    ...tokenRooms,
    grants,
    standingOf: (subject) => standingOf({ auth, config, nextcloud }, { issuer: issuer.origin, subject }),
    pending: createOneTimeRecords('sign-in', ofRecords),
    cookies,
    questions,
    pages,
    signInPages,
    ...{ events, clock, underWay },
    unusedClients,
    registrations: registrationShares(clock),
    authorizations,
    codes,
  }
  const close = async (): Promise<void> => {
    tokenRooms.deletions.close()
    await underWay.close(config.http.timeout / 2, grants.settle().then(tokenRooms.deletions.settle))
    transport.close()
  }
  return { rooms, readKeys, close }
}

const MINUTE = 60_000
/**
 * Sign-ins that begin in the ten minutes for which each is kept: of one address, of the two networks around it, and of all. Each leaves up
 * to three records (the question, the end of a way to Nextcloud, and another way that began after it), and `MemoryStorage` has 10,000 places, which those who are connected need too.
 */
const MOST_AUTHORIZATIONS = [1_000, 1_500, 2_000, 2_600] as const

function needed({ nextcloud, grants }: Config): {
  readonly nextcloud: NextcloudConfig
  readonly grants: GrantsConfig
  readonly connect: ConnectConfig
} {
  if (nextcloud === undefined || grants?.connect === undefined) throw new InternalError('The options lack a part')
  return { nextcloud, grants, connect: grants.connect }
}

/** Tells the operator of a host that gave no answer: nobody else would, but the client. */
function reportSilence(events: Events): (host: string) => void {
  return (host) => {
    const detail = `The metadata document of a client cannot be fetched: ${host} gives no answer, or too many are fetched now`
    reportFailure(events, new UpstreamUnavailableError(detail))
  }
}
