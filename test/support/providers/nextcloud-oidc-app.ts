import { onTestFinished } from 'vitest'
import type { ManualClock } from '../clock.js'
import { bearerOf, json, type Asked } from '../../../src/testing/nextcloud/exchange.js'
import { accessTokenFor, grantCode, signingKeys } from '../nextcloud/oidc-app.js'
import { oidcRows, seconds, STATED_LIFE, type OidcRow } from '../nextcloud/oidc-rows.js'
import { cookieOf, newSession } from '../nextcloud/sessions.js'
import { startStandIn } from '../nextcloud/stand-in.js'
import { addAccount } from '../nextcloud/state.js'
import { RESOURCE } from '../scripted-authorization-server.js'
import { STAND_IN_SECRET } from './stand-in.js'

/** Seconds, by default, of access tokens and of refresh tokens, as they are stated. */
export const LIFE = STATED_LIFE

/** The answer of its older versions to a code or refresh token without a row. */
const OLDER = {
  error: 'invalid_request',
  error_description: 'Could not find access token for code or refresh_token.',
}
const TOKEN = '/apps/oidc/token'

interface Ways {
  /** As its older versions: a code or refresh token without a row is an `invalid_request`. */
  readonly older?: boolean
}

/** The stand-in for Nextcloud as its own authorization server, by the app `oidc`. */
export interface NextcloudOidcApp {
  readonly origin: string
  readonly rows: OidcRow[]
  /** Somebody signs in and agrees: the path and query of the callback. */
  readonly authorize: (authorizationUrl: URL, user: string) => Promise<string>
  /** An access token for an MCP client, opaque unless its type is set to JWT; any client may name any resource. */
  readonly issueMcpToken: (token: { user: string; client: string; resource: string; jwt?: boolean }) => Promise<string>
  /** Bearer tokens that Nextcloud was sent, with their age in seconds; undefined: it knows no such token. */
  readonly presented: { readonly token: string; readonly age: number | undefined }[]
  /** Requests to a path of the app. */
  readonly received: (path: string) => readonly (Asked & { readonly form: URLSearchParams })[]
  readonly refreshes: () => readonly Asked[]
}

/** Nextcloud as its own authorization server, by the app `oidc`. */
export async function startNextcloudOidcApp(
  { now }: ManualClock,
  { older = false }: Ways = {},
): Promise<NextcloudOidcApp> {
  const { url, state, requests, disturb, close } = await startStandIn({ now })
  // Made once and beforehand, since that takes longer than a busy machine lets a request wait.
  await signingKeys()
  onTestFinished(close)
  state.settings.oidcProviderBearerValidation = true
  const client = { id: state.nextId(), name: 'MCP server', clientId: 'mcp-server', secret: STAND_IN_SECRET }
  state.oidcClients.push({
    ...client,
    redirectUris: [`${new URL(RESOURCE).origin}/nextcloud/callback`],
    resourceUrl: RESOURCE,
  })
  const rows = oidcRows(state)
  const presented: { token: string; age: number | undefined }[] = []

  disturb((asked) => {
    const bearer = bearerOf(asked)
    const row = rows.find(({ accessToken }) => accessToken === bearer)
    if (bearer !== undefined) presented.push({ token: bearer, age: row && seconds(state) - row.refreshed })
    if (!older || asked.path !== TOKEN) return undefined
    const secret = new URLSearchParams(asked.body).get('refresh_token')
    return secret === null || rows.some(({ code }) => code === secret) ? undefined : json(400, OLDER)
  })

  const received = (path: string) =>
    requests
      .filter((request) => request.path === path)
      .map((request) => ({ ...request, form: new URLSearchParams(request.body) }))
  return {
    origin: url,
    rows,
    presented,
    async authorize(authorizationUrl, user) {
      addAccount(state, user)
      const headers = { cookie: cookieOf(newSession(state, user)) }
      const response = await fetch(authorizationUrl, { headers, redirect: 'manual' })
      const callback = new URL(response.headers.get('location') ?? '')
      return callback.pathname + callback.search
    },
    async issueMcpToken({ user, client: clientId, resource, jwt = false }) {
      addAccount(state, user)
      const known = { id: state.nextId(), name: clientId, clientId, secret: '', redirectUris: [], isPublic: true, jwt }
      if (!state.oidcClients.some((each) => each.clientId === clientId)) state.oidcClients.push(known)
      const query = { client_id: clientId, scope: 'openid profile', resource }
      const row = grantCode(state, user, new URLSearchParams(query))
      row.accessToken = await accessTokenFor(state, url, row)
      return row.accessToken
    },
    received,
    refreshes: () => received(TOKEN).filter(({ form }) => form.get('grant_type') === 'refresh_token'),
  }
}
