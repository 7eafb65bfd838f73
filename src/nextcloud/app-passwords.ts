import type { Transport } from '../transport/transport.js'
import type { NextcloudConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import type { AppPassword } from '../grants/grant.js'
import { basicCredentials, isAppPassword } from './basic.js'

/** A Login Flow v2 that has begun: its address for the user, and what its end is asked for with. */
export interface LoginFlow {
  /** Where the user signs in to Nextcloud and agrees. */
  readonly login: string
  readonly pollToken: string
}

/** What a flow comes to, in Nextcloud's words. */
export interface LoginFlowAnswer extends AppPassword {
  /** The address that Nextcloud gives itself. */
  readonly server: string
}

/**
 * The app passwords of one Nextcloud: how they come about (Login Flow v2), whether they live, and how they end.
 *
 * `start` and `poll` reject with {@link UpstreamUnavailableError} when there is no usable answer; the others never reject.
 */
export interface AppPasswords {
  /** Whose app passwords: its base URL. */
  readonly nextcloud: string
  /**
   * Begins a flow.
   *
   * @param clientName what the user is shown of who asks, there and among the devices and sessions of their account
   */
  readonly start: (clientName: string) => Promise<LoginFlow>
  /** The app password, which Nextcloud gives once; undefined until the user has agreed; `unusable` when it is no such thing. */
  readonly poll: (pollToken: string) => Promise<LoginFlowAnswer | 'unusable' | undefined>
  /**
   * Whether Nextcloud itself says that it does not take the app password; undefined when it does not say, or cannot be asked. A 401 of
   * something in front of it says nothing about the app password.
   */
  readonly isRefused: (appPassword: AppPassword) => Promise<boolean | undefined>
  /** Has Nextcloud delete the app password: whether it did. */
  readonly remove: (appPassword: AppPassword) => Promise<boolean>
}

const FORM = 'application/x-www-form-urlencoded'
/** `OCP\AppFramework\OCSController::RESPOND_UNAUTHORISED`. */
const OCS_UNAUTHORISED = 997
/** Characters, by our own bound: what Nextcloud shows of it is a name. */
const LONGEST_NAME = 100

export function createAppPasswords(
  { url, base }: Pick<NextcloudConfig, 'url' | 'base'>,
  transport: Transport,
): AppPasswords {
  // The answer names an address to poll at. It is not taken from there: the poll token goes nowhere but to this Nextcloud.
  const flowUrl = `${base}index.php/login/v2`

  /** The answer to a request with the app password, where there is one. No other Nextcloud than its own gets to see it. */
  async function ask(method: string, path: string, appPassword: AppPassword): Promise<Response | undefined> {
    if (appPassword.nextcloud !== undefined && appPassword.nextcloud !== url.href) return undefined
    try {
      const headers = { authorization: `Basic ${basicCredentials(appPassword)}`, 'ocs-apirequest': 'true' }
      return await transport.askNextcloud(base + path, { method, headers })
    } catch (error) {
      if (error instanceof UpstreamUnavailableError) return undefined
      throw error
    }
  }

  return {
    nextcloud: url.href,
    async start(clientName) {
      const response = await transport.askNextcloud(flowUrl, {
        method: 'POST',
        headers: { accept: 'application/json', 'user-agent': headerText(clientName) },
      })
      const { login, poll } = (await readJson(response)) as { login?: unknown; poll?: { token?: unknown } | null }
      const pollToken = poll?.token
      if (response.status !== 200 || !isWebAddress(login) || typeof pollToken !== 'string' || pollToken === '') {
        throw nonsense(response)
      }
      // A password is typed there. Behind a proxy Nextcloud may not know that it is reached by https.
      if (url.protocol === 'https:' && new URL(login).protocol !== 'https:') {
        throw new UpstreamUnavailableError(
          'Nextcloud names a login page on plain http: set overwriteprotocol (and overwrite.cli.url) in its config.php',
          { service: 'Nextcloud' },
        )
      }
      return { login: new URL(login).href, pollToken }
    },

    async poll(pollToken) {
      const response = await transport.askNextcloud(`${flowUrl}/poll`, {
        method: 'POST',
        headers: { accept: 'application/json', 'content-type': FORM },
        body: new URLSearchParams({ token: pollToken }).toString(),
      })
      if (response.status === 404) return undefined
      if (response.status !== 200) throw nonsense(response)
      // It is given once, so there is no use in asking again for what cannot be used.
      const { server, loginName, appPassword: password } = (await readJson(response)) as Record<string, unknown>
      // Some page of a proxy, or of a Nextcloud under maintenance.
      if (password === undefined) throw nonsense(response)
      if (!isAppPassword({ loginName, password })) return 'unusable'
      return {
        loginName: loginName as string,
        password: password as string,
        server: typeof server === 'string' ? server : '',
      }
    },

    async isRefused(appPassword) {
      const response = await ask('GET', 'ocs/v2.php/cloud/user?format=json', appPassword)
      if (response?.status === 200) return false
      return response?.status === 401 && (await isOcsRefusal(response)) ? true : undefined
    },
    remove: async (appPassword) => (await ask('DELETE', 'ocs/v2.php/core/apppassword', appPassword))?.status === 200,
  }
}

/** In the words of Nextcloud's own interface: 997, "Current user is not logged in". */
async function isOcsRefusal(response: Response): Promise<boolean> {
  const { ocs } = (await readJson(response)) as { ocs?: { meta?: { statuscode?: unknown } | null } | null }
  return ocs?.meta?.statuscode === OCS_UNAUTHORISED
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

/** A header is ASCII (RFC 9110 §5.5): what is not stays readable without its accents, or as a question mark. */
function headerText(name: string): string {
  const ascii = name
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .replace(/[^\x20-\x7E]/gu, '?')
    .trim()
  return ascii.slice(0, LONGEST_NAME) || 'MCP server'
}
