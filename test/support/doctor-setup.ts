import { randomBytes } from 'node:crypto'
import { expect, onTestFinished } from 'vitest'
import type { Finding } from '../../src/cli/doctor/check.js'
import type { Surroundings } from '../../src/cli/command-line.js'
import { doctor } from '../../src/cli/doctor/doctor.js'
import { systemClock } from '../../src/clock.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { callCommand, type Ran } from './command.js'
import { listen } from './hosts.js'
import { startNextcloud, type NextcloudHandler, type NextcloudServer } from './nextcloud-server.js'
import {
  CLIENT_ID,
  startAuthorizationServer,
  type ScriptedAnswer,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

export { ROOT } from './command.js'

/** A whole set-up: a provider, a Nextcloud, an MCP server behind a proxy, and a doctor to look at them. */
export interface DoctorSetup {
  readonly as: ScriptedAuthorizationServer
  readonly nextcloud: NextcloudServer
  /** The public URL of the MCP server. */
  readonly resource: string
  /** Options of the command line and variables that describe the set-up; a fault may change them. */
  readonly options: Record<string, string>
  readonly environment: Record<string, string>
  /** The token endpoint, as far as it is not scripted: whether it exchanges, and claims of the tokens that it gives. */
  readonly provider: { exchangeIsOn: boolean; exchanged: Record<string, unknown> }
  /** Answers of Nextcloud, by the path without its query. */
  readonly answers: Record<string, NextcloudHandler>
  /** A proxy before the MCP server. */
  readonly proxy: { handler: ConnectHandler }
  /** The MCP token, which `--token-file -` reads. */
  token: string
  /** Texts that must be in no output. */
  readonly secrets: string[]
  readonly run: (more?: readonly string[], surroundings?: Partial<Surroundings>) => Promise<Outcome>
}

export interface Outcome {
  readonly status: number
  readonly output: string
  readonly findings: readonly Finding[]
  /** Ids of the checks that failed. */
  readonly failed: readonly string[]
  readonly leftOut: readonly string[]
  readonly finding: (id: string) => Finding | undefined
}

export const answerJson = (value: unknown, status = 200): NextcloudHandler => {
  return (_request, res) => {
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
}

export const STATUS = { installed: true, maintenance: false, needsDbUpgrade: false, versionstring: '31.0.4' }
export const STATUS_PHP = '/status.php'
export const OCS_USER = '/ocs/v2.php/cloud/user'
const DAV_HOME = '/remote.php/dav/files/alice/'
export const NOTES_SETTINGS = '/index.php/apps/notes/api/v1/settings'
export const WELL_KNOWN = '/.well-known/openid-configuration'
export const OAUTH_WELL_KNOWN = '/.well-known/oauth-authorization-server'
export const METADATA_PATH = '/.well-known/oauth-protected-resource/mcp'

/** A healthy one in token-exchange mode, or with other options of the MCP server. */
export async function setUpDoctor(appOptions: McpAuthOptions = {}): Promise<DoctorSetup> {
  const clientSecret = `canary-${randomBytes(18).toString('base64url')}`
  const as = await startProvider()
  const nextcloud = await startNextcloud()
  const answers: DoctorSetup['answers'] = {
    [STATUS_PHP]: answerJson(STATUS),
    [OCS_USER]: answerJson({ ocs: { meta: { statuscode: 200 }, data: { id: 'alice' } } }),
    [NOTES_SETTINGS]: answerJson({ notesPath: 'Notes' }),
    [DAV_HOME]: answerJson({}, 207),
  }
  nextcloud.handle((request, res) => {
    const handler = answers[request.path.split('?')[0] ?? ''] ?? answerJson({ message: 'no such page' }, 404)
    return handler(request, res)
  })
  const app = { issuer: as.issuer, clientId: CLIENT_ID, clientSecret, nextcloud: { url: nextcloud.url }, ...appOptions }
  const { resource, proxy } = await startServer(app)
  const setup: DoctorSetup = {
    as,
    nextcloud,
    resource,
    options: { issuer: as.issuer, resource, 'client-id': CLIENT_ID, 'nextcloud-url': nextcloud.url },
    environment: { OIDC_CLIENT_SECRET: clientSecret },
    provider: { exchangeIsOn: true, exchanged: {} },
    answers,
    proxy,
    token: await as.mint({ aud: resource }),
    secrets: [clientSecret],
    run: (more = [], surroundings = {}) => runDoctor(setup, more, surroundings),
  }
  as.script('/token', tokenEndpoint(setup, clientSecret))
  return setup
}

export async function startProvider(): Promise<ScriptedAuthorizationServer> {
  const as = await startAuthorizationServer()
  onTestFinished(() => as.close())
  Object.assign(as.metadata, {
    authorization_endpoint: `${as.issuer}/authorize`,
    grant_types_supported: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    scopes_supported: ['openid', 'offline_access'],
    registration_endpoint: `${as.issuer}/register`,
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'none'],
  })
  as.script(OAUTH_WELL_KNOWN, (_request, res) => res.end(JSON.stringify(as.metadata)))
  as.script('/authorize', { status: 302, headers: { location: `${as.issuer}/login?execution=1` } })
  return as
}

/** An MCP server behind a proxy, which passes everything on. */
async function startServer(options: McpAuthOptions): Promise<Pick<DoctorSetup, 'resource' | 'proxy'>> {
  const proxy: DoctorSetup['proxy'] = { handler: (_req, _res, next) => next() }
  const site = await listen((req, res) =>
    proxy.handler(req, res, () => routes(req, res, () => auth(req, res, () => res.end('{}')))),
  )
  onTestFinished(() => site.close())
  const resource = `${site.url}/mcp`
  const auth = createMcpAuth({ resource, onEvent: () => undefined, ...options }, systemClock)
  onTestFinished(() => auth.close())
  const routes = auth.routes()
  return { resource, proxy }
}

/** A provider's token endpoint: it looks at the client first, then at the grant, then at the token. */
function tokenEndpoint(setup: DoctorSetup, clientSecret: string): ScriptedAnswer {
  const { as, provider, secrets } = setup
  const credentials = `Basic ${Buffer.from(`${CLIENT_ID}:${clientSecret}`).toString('base64')}`
  return async ({ headers, form }, res) => {
    const refuse = (error: string, error_description?: string, status = 400): unknown =>
      res.writeHead(status).end(JSON.stringify({ error, error_description }))
    if (headers.authorization !== credentials) {
      // Some providers quote the request, by which a secret could get out.
      const sent = Buffer.from((headers.authorization ?? '').slice(6), 'base64').toString()
      return refuse('invalid_client', `Bad credentials ${sent}`, 401)
    }
    if (form.get('grant_type') === 'refresh_token') return refuse('invalid_grant')
    const subjectToken = form.get('subject_token')
    if (!provider.exchangeIsOn) return refuse('unauthorized_client', `No exchange of ${subjectToken ?? ''}`)
    if (subjectToken !== setup.token) return refuse('invalid_request', 'Invalid token')
    const token = await as.mint({ aud: form.getAll('audience'), client_id: CLIENT_ID, ...provider.exchanged })
    secrets.push(token)
    return res.writeHead(200).end(JSON.stringify({ access_token: token, token_type: 'Bearer', expires_in: 300 }))
  }
}

async function runDoctor(
  { options, environment, secrets, token }: DoctorSetup,
  more: readonly string[],
  surroundings: Partial<Surroundings>,
): Promise<Outcome> {
  const tokenFile = token === '' ? [] : ['--token-file', '-']
  const readStandardInput = (): Promise<string> => Promise.resolve(`${token}\n`)
  const args = [...argumentsOf(options), ...tokenFile, '--json', ...more]
  const outcome = await runIn(args, { environment, readStandardInput, ...surroundings })
  expectNoSecret(outcome.output, token === '' ? secrets : [...secrets, token])
  const { checks } = JSON.parse(outcome.output) as { checks: readonly Finding[] }
  const having = (status: Finding['status']) => checks.filter((check) => check.status === status).map(({ id }) => id)
  return {
    ...outcome,
    findings: checks,
    failed: having('failed'),
    leftOut: having('left-out'),
    finding: (id) => checks.find((check) => check.id === id),
  }
}

export const argumentsOf = (options: Readonly<Record<string, string | undefined>>): string[] =>
  Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value]))

/** Calls the doctor in surroundings of the test's own. */
export const runIn = (args: readonly string[], surroundings: Partial<Surroundings> = {}): Promise<Ran> =>
  callCommand(doctor, args, surroundings)

/** Characters in a row of a secret that are too many to be there by chance. */
const PART = 8

const partsOf = (text: string): string[] =>
  Array.from({ length: Math.max(text.length - PART + 1, 0) }, (_, at) => text.slice(at, at + PART))

/** Expects that no secret is in a text, and no part of one either. */
export function expectNoSecret(text: string, secrets: readonly string[]): void {
  expect(secrets.length).toBeGreaterThan(0)
  const parts = new Set(secrets.flatMap(partsOf))
  const at = partsOf(text).findIndex((part) => parts.has(part))
  // Not the part itself, which would stand in the output of the test.
  expect(at, 'the place of a part of a secret').toBe(-1)
}
