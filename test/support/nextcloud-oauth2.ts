import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { listen } from './hosts.js'

/** A token request, as it came in. */
export interface OAuth2TokenRequest {
  readonly authorization: string | undefined
  readonly form: URLSearchParams
}

/** Nextcloud with its core app `oauth2`: two endpoints, no metadata, no keys, no ID token, and errors that are all 400. */
export interface NextcloudOAuth2 {
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  /** Paths that were asked for, in order. */
  readonly paths: string[]
  readonly tokenRequests: OAuth2TokenRequest[]
  /** Somebody signs in and agrees: the path and query of the callback. */
  readonly signIn: (authorizationUrl: URL | undefined, uid: string) => string
  /** Whether an access token is good: the last one of its row, until an hour later. */
  readonly takes: (accessToken: string) => boolean
  /** The user deletes the app's session in the security settings. */
  readonly deleteSessions: () => void
}

/** A row of its table: a code or refresh token, and the access token that came with it. */
interface Row {
  readonly uid: string
  secret: string
  accessToken: string | undefined
  endsAt: number
}

const LIFE = 3_600

/** @param now milliseconds since the epoch */
export async function startNextcloudOAuth2(now: () => number): Promise<NextcloudOAuth2> {
  const clientId = fresh(48)
  const clientSecret = fresh(48)
  const paths: string[] = []
  const tokenRequests: OAuth2TokenRequest[] = []
  const rows: Row[] = []

  function answer(form: URLSearchParams): { status: number; json: Record<string, unknown> } {
    const refuse = (error: string) => ({ status: 400, json: { error } })
    const grantType = form.get('grant_type')
    if (grantType !== 'authorization_code' && grantType !== 'refresh_token') return refuse('invalid_grant')
    const secret = form.get(grantType === 'refresh_token' ? 'refresh_token' : 'code')
    const row = rows.find((candidate) => candidate.secret === secret)
    if (row === undefined) return refuse('invalid_request')
    if (grantType === 'authorization_code' && row.accessToken !== undefined) return refuse('invalid_request')
    if (form.get('client_id') !== clientId || form.get('client_secret') !== clientSecret)
      return refuse('invalid_client')
    Object.assign(row, { secret: fresh(128), accessToken: fresh(72), endsAt: now() + LIFE * 1_000 })
    const { uid, accessToken, secret: refreshToken } = row
    return {
      status: 200,
      json: {
        access_token: accessToken,
        token_type: 'Bearer',
        expires_in: LIFE,
        refresh_token: refreshToken,
        user_id: uid,
      },
    }
  }

  const app = await listen((req, res) => {
    void text(req).then((body) => {
      const { pathname } = new URL(req.url ?? '', 'http://localhost')
      paths.push(pathname)
      if (pathname !== '/index.php/apps/oauth2/api/v1/token' || req.method !== 'POST') return res.writeHead(404).end()
      const form = new URLSearchParams(body)
      tokenRequests.push({ authorization: req.headers.authorization, form })
      const { status, json } = answer(form)
      return res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
    })
  })
  onTestFinished(() => app.close())

  return {
    url: app.url,
    clientId,
    clientSecret,
    paths,
    tokenRequests,
    signIn(to, uid) {
      if (to === undefined || to.origin + to.pathname !== `${app.url}/index.php/apps/oauth2/authorize`)
        throw new Error('That is not where Nextcloud authorizes')
      const query = to.searchParams
      if (query.get('client_id') !== clientId || query.get('response_type') !== 'code')
        throw new Error('Nextcloud knows no such client')
      const code = fresh(128)
      rows.push({ uid, secret: code, accessToken: undefined, endsAt: 0 })
      const redirect = new URL(query.get('redirect_uri') ?? '')
      redirect.searchParams.set('state', query.get('state') ?? '')
      redirect.searchParams.set('code', code)
      return redirect.pathname + redirect.search
    },
    takes: (accessToken) => rows.some((row) => row.accessToken === accessToken && now() < row.endsAt),
    deleteSessions: () => void rows.splice(0),
  }
}

const fresh = (length: number): string => randomBytes(length).toString('hex').slice(0, length)
