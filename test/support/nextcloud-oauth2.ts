import { onTestFinished } from 'vitest'
import { createVisitor } from './nextcloud/visitor.js'
import { startStandIn, type NextcloudStandIn } from './nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from './nextcloud/state.js'
import { fresh, type Asked } from '../../src/testing/nextcloud/exchange.js'
import { RESOURCE } from './scripted-authorization-server.js'

/** A token request, as it came in. */
export interface OAuth2TokenRequest {
  readonly authorization: string | undefined
  readonly form: URLSearchParams
}

/** The stand-in for Nextcloud with a client of its core app `oauth2`. */
export interface NextcloudOAuth2 {
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  /** Paths that were asked for, in order, but for the pages of a sign-in. */
  readonly paths: () => readonly string[]
  readonly tokenRequests: () => readonly OAuth2TokenRequest[]
  /** Somebody signs in and agrees: the path and query of the callback. */
  readonly signIn: (authorizationUrl: URL | undefined, uid: string, email?: string) => Promise<string>
  /** Whether an access token is good: the last one of its row, until an hour later. */
  readonly takes: (accessToken: string) => boolean
  /** Whose sessions the app has. */
  readonly sessions: () => readonly string[]
  /** The user deletes the app's session in the security settings. */
  readonly deleteSessions: () => void
  /** An administrator deletes the client. Returns a function that adds it again. */
  readonly deleteClient: () => () => void
  readonly disturb: NextcloudStandIn['disturb']
  /** Is called with each request, when it has been carried out and before its answer is sent, which waits for it. */
  readonly afterwards: (act: (asked: Asked) => unknown) => void
  /** An administrator disables and enables an account. */
  readonly enable: (uid: string, enabled: boolean) => void
}

const TOKEN = '/index.php/apps/oauth2/api/v1/token'
const CALLBACK = `${new URL(RESOURCE).origin}/nextcloud/callback`

/** @param now milliseconds since the epoch */
export async function startNextcloudOAuth2(now: () => number): Promise<NextcloudOAuth2> {
  let afterwards: (asked: Asked) => unknown = () => undefined
  const { url, state, requests, disturb, close } = await startStandIn({ now, onAnswer: (asked) => afterwards(asked) })
  onTestFinished(close)
  const client = { id: state.nextId(), name: 'MCP', clientId: fresh(64), secret: fresh(64), redirectUris: [CALLBACK] }
  state.oauth2Clients.push(client)
  let pages = 0
  return {
    url,
    disturb,
    afterwards: (act) => void (afterwards = act),
    enable: (uid, enabled) => void (state.accounts.get(uid)!.enabled = enabled),
    clientId: client.clientId,
    clientSecret: client.secret,
    paths: () => requests.slice(pages).map(({ path }) => path),
    tokenRequests: () =>
      requests
        .filter(({ path }) => path === TOKEN)
        .map(({ headers, body }) => ({ authorization: headers.authorization, form: new URLSearchParams(body) })),
    async signIn(to, uid, email) {
      if (to === undefined) throw new Error('The browser was not sent on')
      addAccount(state, uid, email === undefined ? {} : { email })
      const { pathname, search } = await createVisitor({ name: uid, password: ACCOUNT_PASSWORD }).until(to, CALLBACK)
      pages = requests.length
      return pathname + search
    },
    takes: (accessToken) =>
      state.tokens.some(({ password, endsAt = Infinity }) => password === accessToken && now() < endsAt),
    sessions: () => state.tokens.filter(({ kind }) => kind === 'oauth2').map(({ uid }) => uid),
    deleteSessions: () => void state.tokens.splice(0),
    deleteClient() {
      state.oauth2Clients.splice(0)
      return () => void state.oauth2Clients.push(client)
    },
  }
}
