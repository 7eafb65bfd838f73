import type { NextcloudConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import type { Transport } from '../transport/transport.js'
import { authorizationOf, type AppPassword } from './credential.js'
import { isOcsDone, isOcsRefusal } from './refusal.js'

/** The end of a flow, in Nextcloud's words. */
export interface LoginFlowAnswer extends AppPassword {
  /** The address that Nextcloud gives itself. */
  readonly server: string
}

/**
 * The app passwords of one Nextcloud: how they come about (Login Flow v2), whether they live, and how they end.
 *
 * `start` and `poll` reject with {@link UpstreamUnavailableError} when there is no usable answer. The others never reject.
 */
export interface AppPasswords {
  /** Base URL of the Nextcloud, with a slash at its end. */
  readonly nextcloud: string
  /**
   * Begins a flow. The user signs in to Nextcloud and agrees at `login`; its end is asked for with `pollToken`.
   *
   * @param clientName names this server to the user, there and among the devices and sessions of their account
   */
  readonly start: (clientName: string) => Promise<{ readonly login: string; readonly pollToken: string }>
  /** The app password, which Nextcloud gives once; undefined until the user has agreed; `unusable` if it is no app password. */
  readonly poll: (pollToken: string) => Promise<LoginFlowAnswer | 'unusable' | undefined>
  /**
   * Whether Nextcloud itself refuses the app password; undefined if it does not say. A 401 of something in front of it says nothing
   * about the app password.
   */
  readonly isRefused: (appPassword: AppPassword) => Promise<boolean | undefined>
  /**
   * Has Nextcloud delete the app password. Resolves to true if it did. `refused`: it does not take the app password, which may be
   * deleted, or of an account that is disabled for a time. `unavailable`: it could not be asked. `failed`: it said something else.
   */
  readonly remove: (appPassword: AppPassword) => Promise<Removal>
}

/** The outcome of a deletion. */
export type Removal = true | 'refused' | 'unavailable' | 'failed'

interface Rooms {
  readonly nextcloud: Pick<NextcloudConfig, 'url' | 'base' | 'publicUrl' | 'publicBase'>
  readonly transport: Pick<Transport, 'askNextcloud'>
}

const FORM = 'application/x-www-form-urlencoded'
/** Characters, by our own bound: Nextcloud shows it as a name. */
const LONGEST_NAME = 100

export function createAppPasswords(nextcloud: Rooms['nextcloud'], transport: Rooms['transport']): AppPasswords {
  const rooms = { nextcloud, transport }
  return {
    nextcloud: nextcloud.base,
    start: (clientName) => start(rooms, clientName),
    poll: (pollToken) => poll(rooms, pollToken),
    isRefused: (appPassword) => isRefused(rooms, appPassword),
    remove: (appPassword) => remove(rooms, appPassword),
  }
}

/** The flow is polled here and not at the address in the answer, so that the poll token goes to no other server. */
const flowUrl = ({ nextcloud }: Rooms): string => `${nextcloud.base}index.php/login/v2`

async function start(rooms: Rooms, clientName: string): Promise<{ login: string; pollToken: string }> {
  const response = await rooms.transport.askNextcloud(flowUrl(rooms), {
    method: 'POST',
    headers: { accept: 'application/json', 'user-agent': headerText(clientName) },
  })
  const { login, poll: way } = (await readJson(response)) as { login?: unknown; poll?: { token?: unknown } | null }
  const pollToken = way?.token
  if (response.status !== 200 || !isWebAddress(login) || typeof pollToken !== 'string' || pollToken === '') {
    throw nonsense(response)
  }
  const page = publicPage(rooms, new URL(login))
  if (page === undefined) throw nonsense(response)
  // A password is typed there. Behind a proxy Nextcloud may not know that it is reached by https.
  if (rooms.nextcloud.publicUrl.protocol === 'https:' && page.protocol !== 'https:') {
    throw new UpstreamUnavailableError(
      'Nextcloud names a login page on plain http: set overwriteprotocol (and overwrite.cli.url) in its config.php',
      { service: 'Nextcloud' },
    )
  }
  return { login: page.href, pollToken }
}

/** Returns the page of a flow where browsers reach it. Nextcloud itself may know its internal address only. */
function publicPage({ nextcloud: { url, publicUrl, publicBase } }: Rooms, login: URL): URL | undefined {
  if (publicUrl.href === url.href) return login
  const path = /\/((?:index\.php\/)?login\/v2\/flow\/[^/]+)$/.exec(login.pathname)?.[1]
  return path === undefined ? undefined : new URL(path + login.search, publicBase)
}

async function poll(rooms: Rooms, pollToken: string): Promise<LoginFlowAnswer | 'unusable' | undefined> {
  const response = await rooms.transport.askNextcloud(`${flowUrl(rooms)}/poll`, {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': FORM },
    body: new URLSearchParams({ token: pollToken }).toString(),
  })
  if (response.status === 404) return undefined
  if (response.status !== 200) throw nonsense(response)
  const { server, loginName, appPassword: password } = (await readJson(response)) as Record<string, unknown>
  // The page of a proxy, or of a Nextcloud under maintenance.
  if (password === undefined) throw nonsense(response)
  const given = { loginName, password }
  // Nextcloud gives it once, so asking again is of no use.
  if (!isAppPassword(given)) return 'unusable'
  return { ...given, server: typeof server === 'string' ? server : '' }
}

/** Only Nextcloud's own words count: 997, "Current user is not logged in". */
async function isRefused(rooms: Rooms, appPassword: AppPassword): Promise<boolean | undefined> {
  const response = await askAs(rooms, appPassword, 'GET', 'ocs/v2.php/cloud/user?format=json')
  if (response?.status === 200) return false
  if (response?.status !== 401) return undefined
  return isOcsRefusal(await readJson(response)) ? true : undefined
}

async function remove(rooms: Rooms, appPassword: AppPassword): Promise<Removal> {
  const response = await askAs(rooms, appPassword, 'DELETE', 'ocs/v2.php/core/apppassword?format=json')
  if (response === undefined || response.status === 429 || response.status >= 500) return 'unavailable'
  const answer = await readJson(response)
  if (response.status === 401 && isOcsRefusal(answer)) return 'refused'
  return response.status === 200 && isOcsDone(answer) ? true : 'failed'
}

/** Sends a request with the app password, which only the Nextcloud that gave it gets to see. Undefined: there is no answer. */
async function askAs(
  { nextcloud, transport }: Rooms,
  appPassword: AppPassword,
  method: string,
  path: string,
): Promise<Response | undefined> {
  if (appPassword.nextcloud !== undefined && appPassword.nextcloud !== nextcloud.base) return undefined
  try {
    const headers = { authorization: authorizationOf({ scheme: 'Basic', ...appPassword }), 'ocs-apirequest': 'true' }
    return await transport.askNextcloud(nextcloud.base + path, { method, headers })
  } catch (error) {
    if (error instanceof UpstreamUnavailableError) return undefined
    throw error
  }
}

/** Whether Basic authentication can carry it: no colon in the name, nothing that is not text (RFC 7617 §2). */
export function isAppPassword(given: { loginName: unknown; password: unknown }): given is AppPassword {
  const { loginName, password } = given
  return (
    typeof loginName === 'string' &&
    /^[^:\p{Cc}\p{Surrogate}]{1,512}$/u.test(loginName) &&
    typeof password === 'string' &&
    /^[\x21-\x7E]{1,512}$/.test(password)
  )
}

function isWebAddress(value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(value)) return false
  const { protocol, username, password } = new URL(value)
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === ''
}

async function readJson(response: Response): Promise<object> {
  const body: unknown = await response.json().catch(() => undefined)
  return typeof body === 'object' && body !== null ? body : {}
}

function nonsense({ status }: Response): UpstreamUnavailableError {
  return new UpstreamUnavailableError(`Nextcloud answers a login flow with something else (status ${status})`, {
    service: 'Nextcloud',
    httpStatus: status,
  })
}

/** A header is ASCII (RFC 9110 §5.5): other letters lose their accents, or become a question mark. */
function headerText(name: string): string {
  const ascii = name
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .replace(/[^\x20-\x7E]/gu, '?')
    .trim()
  return ascii.slice(0, LONGEST_NAME) || 'MCP server'
}
