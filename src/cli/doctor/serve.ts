import { createHash, randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { doctorSetUp, type DoctorSetUp } from '../../serve/doctor-set-up.js'
import { credentialDoubts, portDoubt, readSettings, redirectUriOf, type ServeSettings } from '../../serve/settings.js'
import { MemoryStorage } from '../../storage/memory.js'
import { shellWord } from '../../shell-word.js'
import { Misuse, type SetUp, type Surroundings } from '../command-line.js'
import { createSecrets, type Secrets } from '../secrets.js'
import { installCommand, missingPackages } from '../serve-packages.js'
import { storeAt } from '../stores.js'
import { check, failed, leftOut, passed, type Check, type Finding, type Verdict } from './check.js'
import { CHECKS } from './checks.js'
import { examine } from './examine.js'
import type { Examination } from './examination.js'
import { WITH_SERVE } from './serve-words.js'
import { describe, isAnswer, objectIn, type Answer, type NoAnswer } from './probe.js'

/** Milliseconds for the file of the database. */
const STORAGE_TIMEOUT = 5_000

/**
 * Returns the set-up of `serve`, with checks of its own.
 *
 * @throws {Misuse} its variables cannot be followed
 */
export function readServeSetUp(
  secrets: Secrets,
  { environment, directory }: Pick<Surroundings, 'environment' | 'directory'>,
): Promise<{ readonly setUp: SetUp; readonly more: readonly Check[] }> {
  const { settings, faults } = readSettings(environment, directory)
  if (faults !== undefined) throw new Misuse(faults.join('; '))
  const { options, storage, encryptionKey, folder } = doctorSetUp(settings)
  for (const secret of [settings.clientSecret, ...(encryptionKey?.split(',') ?? [])]) secrets.add(secret.trim())
  // The driver of the server, which is installed beside this package.
  const own = fileURLToPath(new URL('.', import.meta.url))
  const places = {
    directory: own,
    timeout: STORAGE_TIMEOUT,
    table: undefined,
    prefix: undefined,
    missingFile: 'refuse' as const,
  }
  const key = encryptionKey ?? randomBytes(32).toString('base64url')
  return Promise.resolve({
    setUp: {
      // The first start makes the database.
      options: { ...options, encryptionKey: key, storage: new MemoryStorage() },
      token: undefined,
      subject: undefined,
      store: storage === undefined ? undefined : storeAt(storage, places),
      reader: WITH_SERVE,
    },
    more: [
      check({ id: 'serve.packages', run: checkPackages }),
      check({ id: 'serve.client', run: () => checkClient(settings) }),
      check({ id: 'serve.port', run: (context) => checkPort(context, settings) }),
      check({ id: 'serve.data', run: () => checkData(folder) }),
      check({ id: 'serve.sign-in', needs: ['serve.packages'], run: (context) => walk(context, settings) }),
    ],
  })
}

/** Checks of what must be good before anybody can sign in, without those of a server that runs. */
const AT_START = /^(?:nextcloud\.|client\.credentials|connect\.redirect-uri|serve\.client)/

/** A look at the start of `serve`. */
export interface StartLook {
  /** What is wrong with the configuration. Undefined: `serve` can start. */
  readonly wrong: string | undefined
  /**
   * Looks at the client and at Nextcloud. Resolves to what keeps people from signing in; else to how far a sign-in comes. A request
   * ends within `http.timeout`.
   */
  readonly findings: () => Promise<readonly Finding[]>
}

/** Reads the configuration as `serve` starts. Nextcloud is asked by `findings`, for which no start waits. */
export async function lookAtStart(given: Surroundings, settings: ServeSettings): Promise<StartLook> {
  const secrets = createSecrets()
  const { setUp, more } = await readServeSetUp(secrets, given)
  // The log has the screen.
  const surroundings = { ...given, progress: () => undefined }
  const look = async (checks: readonly Check[]) => {
    const findings = await examine(setUp, secrets, surroundings, checks)
    return { failures: findings.filter(({ status }) => status === 'failed'), last: findings.slice(-1) }
  }
  const [wrong] = (await look([])).failures
  const checks = [...[...CHECKS, ...more].filter(({ id }) => AT_START.test(id)), lastStepOf(settings)]
  return {
    wrong: wrong?.found,
    findings: async () => {
      const { failures, last } = await look(checks)
      return failures.length > 0 ? failures : last
    },
  }
}

/** The sign-in from where the browser comes to Nextcloud, because apps may not reach `serve` yet. */
const lastStepOf = (settings: ServeSettings): Check =>
  check({
    id: 'serve.sign-in',
    needs: ['client.credentials', 'connect.redirect-uri'],
    run: async ({ discovery, probe, secrets: { quote } }) => {
      const { authorization_endpoint: endpoint = '' } = await discovery.forAuthorization()
      const url = new URL(endpoint)
      url.search = new URLSearchParams({
        response_type: 'code',
        client_id: settings.clientId,
        redirect_uri: redirectUriOf(settings),
      }).toString()
      return atNextcloud(await probe(url.href, { headers: { accept: 'text/html' } }), settings, quote)
    },
  })

async function checkPackages(): Promise<Verdict> {
  const missing = await missingPackages()
  if (missing.length > 0) return failed(`not installed: ${missing.join(', ')}`, installCommand(missing))
  return passed(`all packages are there; Node ${process.versions.node}`)
}

function checkClient(settings: ServeSettings): Verdict {
  const doubts = credentialDoubts(settings)
  if (doubts.length === 0) return passed('the id and the secret have the form of Nextcloud’s')
  return failed(
    doubts.join('; '),
    'copy both whole from Administration settings, Security, OAuth 2.0 clients; the secret is shown once, so add a client again where it is lost',
  )
}

/** Apps on this computer must find the server: at its port, or at another one that leads there. */
async function checkPort({ probe }: Examination, settings: ServeSettings): Promise<Verdict> {
  const doubt = portDoubt(settings)
  if (doubt === undefined) return passed(`apps look for the server at ${new URL(settings.resource).origin}`)
  const { found, fix } = doubt
  const alive = await probe(new URL('/health/live', settings.resource).href)
  if (isAnswer(alive) && alive.status === 200) return passed(`${found}, and something leads from one to the other`)
  return failed(found, fix)
}

function checkData({ usable, found }: DoctorSetUp['folder']): Verdict {
  if (usable) return passed(found)
  return failed(
    found,
    'let MCP_DATA be a folder of the user that runs the server; a key that is lost comes back from a copy, or by TOKEN_ENCRYPTION_KEY, or everybody signs in again with an empty folder',
  )
}

/** A request of a browser, with the cookies that it has got on the way. */
type Visit = (url: string, form?: URLSearchParams) => Promise<Answer | NoAnswer>

const COOKIE = /(?<=^|,\s?)[^=;,\s]+=[^;,]*/g

function browserOf({ probe }: Examination): Visit {
  const cookies = new Map<string, string>()
  return async (url, form) => {
    const headers: Record<string, string> = { accept: 'text/html' }
    if (cookies.size > 0) headers['cookie'] = [...cookies.values()].join('; ')
    const answer = await probe(url, form === undefined ? { headers } : posted(url, form, headers))
    // Several cookies are one header here, with commas between them. No value of this package has one.
    for (const [cookie] of (headerOf(answer, 'set-cookie') ?? '').matchAll(COOKIE)) {
      cookies.set(cookie.slice(0, cookie.indexOf('=')), cookie)
    }
    return answer
  }
}

const posted = (url: string, form: URLSearchParams, headers: Readonly<Record<string, string>>) => ({
  method: 'POST',
  headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded', origin: new URL(url).origin },
  body: form.toString(),
})

const REDIRECT_URI = 'http://127.0.0.1/doctor'

/** Signs in as far as it can be done without a person: registers a client, says yes on the page, and comes to Nextcloud. */
async function walk(context: Examination, settings: ServeSettings): Promise<Verdict> {
  const { origin } = new URL(settings.resource)
  const { quote } = context.secrets
  const registered = await register(context, origin)
  if (!isAnswer(registered)) {
    return leftOut(
      `no answer from ${origin} (${registered.code})`,
      'start mcp-nextcloud-auth serve, and let its public name lead to it',
    )
  }
  if (registered.status === 429) return leftOut('too many clients have registered just now', 'try again in an hour')
  const clientId = objectIn(registered)?.['client_id']
  if (registered.status !== 201 || typeof clientId !== 'string') {
    return lost('registration', registered, quote)
  }
  return visitAs(clientId, browserOf(context), { settings, quote })
}

async function visitAs(
  clientId: string,
  visit: Visit,
  { settings, quote }: { readonly settings: ServeSettings; readonly quote: (text: unknown) => string },
): Promise<Verdict> {
  const asked = await visit(authorizationUrl(settings, clientId))
  const page = headerOf(asked, 'location')
  if (page === undefined) return lost('the authorization endpoint', asked, quote)
  const { href } = new URL(page, settings.resource)
  const consent = await visit(href)
  const token = isAnswer(consent) ? /name="token" value="([\w-]+)"/.exec(consent.text)?.[1] : undefined
  if (token === undefined) return lost('the page that asks the person', consent, quote)
  const agreed = await visit(href, new URLSearchParams({ token, answer: 'yes' }))
  const target = /^\d+; ?url=(\S+)$/.exec(headerOf(agreed, 'refresh') ?? '')?.[1]
  if (target === undefined) return lost('the way to Nextcloud', agreed, quote)
  return atNextcloud(await visit(target), settings, quote)
}

const headerOf = (answer: Answer | NoAnswer, name: string): string | undefined =>
  isAnswer(answer) ? (answer.headers.get(name) ?? undefined) : undefined

/** One that is not used ends after thirty days. */
function register({ probe }: Examination, origin: string): Promise<Answer | NoAnswer> {
  const metadata = { redirect_uris: [REDIRECT_URI], client_name: 'The doctor', token_endpoint_auth_method: 'none' }
  return probe(`${origin}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(metadata),
  })
}

function authorizationUrl({ resource }: ServeSettings, clientId: string): string {
  const url = new URL('/oauth/authorize', resource)
  const challenge = createHash('sha256').update(randomBytes(32).toString('base64url')).digest('base64url')
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    resource,
  }).toString()
  return url.href
}

function lost(where: string, answer: Answer | NoAnswer, quote: (text: unknown) => string): Verdict {
  return failed(
    `a sign-in ends at ${where} (${describe(answer, quote)})`,
    'let the proxy give this server the whole name, with its path, cookies and forms as they are, and the name go to one set of instances with one store',
  )
}

function atNextcloud(answer: Answer | NoAnswer, settings: ServeSettings, quote: (text: unknown) => string): Verdict {
  if (!isAnswer(answer)) return leftOut(`Nextcloud cannot be reached from here by its public name (${answer.code})`)
  const location = answer.headers.get('location') ?? ''
  const isBack = location.startsWith(`${redirectUriOf(settings)}?`)
  const place = new URL(settings.nextcloudPublicUrl ?? settings.nextcloudUrl)
  const { host, protocol } = URL.canParse(location, place.href) ? new URL(location, place) : place
  if (!isBack && answer.status < 400 && (host !== place.host || protocol !== place.protocol)) {
    return failed(
      `Nextcloud at ${place.origin} sends browsers on to ${quote(`${protocol}//${host}`)}, which it takes for its own address`,
      `if people open it as ${place.origin}: occ config:system:set overwritehost --value=${shellWord(place.host)}, and overwriteprotocol --value=${place.protocol.slice(0, -1)}; else let NEXTCLOUD_PUBLIC_URL be the address that people open`,
    )
  }
  if (answer.status < 400 && !isBack) return passed('a sign-in comes as far as the login page of Nextcloud')
  return failed(
    `a sign-in comes to Nextcloud, which does not take it (${describe(answer, quote)})`,
    'compare NEXTCLOUD_OIDC_CLIENT_ID and the redirection URI with Administration settings, Security, OAuth 2.0 clients',
  )
}
