import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import path from 'node:path'
import { expect, onTestFinished } from 'vitest'
import type { Surroundings } from '../../src/cli/doctor/command-line.js'
import { doctor } from '../../src/cli/doctor/doctor.js'
import type { Finding } from '../../src/cli/doctor/check.js'
import { systemClock } from '../../src/clock.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuthOptions } from '../../src/options.js'
import { listen } from './hosts.js'
import { startNextcloud, type NextcloudHandler, type NextcloudServer } from './nextcloud-server.js'
import {
  CLIENT_ID,
  startAuthorizationServer,
  type ScriptedAnswer,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

export const ROOT = path.resolve(import.meta.dirname, '../..')

/** A whole set-up: a provider, a Nextcloud, an MCP server behind a proxy, and a doctor to look at them. */
export interface DoctorSetup {
  readonly as: ScriptedAuthorizationServer
  readonly nextcloud: NextcloudServer
  /** The public URL of the MCP server. */
  readonly resource: string
  /** Options of the command line and variables that describe the set-up; a fault may change them. */
  readonly options: Record<string, string>
  readonly environment: Record<string, string>
  /** What the provider does, as far as it is not scripted. */
  readonly provider: ProviderWays
  /** What Nextcloud answers, by the path without its query. */
  readonly answers: Record<string, NextcloudHandler>
  /** What a proxy before the MCP server does with a request. */
  readonly proxy: { handler: ConnectHandler | undefined }
  /** The MCP token, which `--token-file -` reads. */
  token: string
  /** What must be in no output. */
  readonly secrets: string[]
  readonly run: (more?: readonly string[], surroundings?: Partial<Surroundings>) => Promise<Outcome>
}

export interface ProviderWays {
  exchangeIsOn: boolean
  /** Claims of the tokens that come back from an exchange. */
  exchanged: Record<string, unknown>
}

export interface Outcome {
  readonly status: number
  readonly output: string
  readonly findings: readonly Finding[]
  /** Ids of what failed. */
  readonly failed: readonly string[]
  readonly leftOut: readonly string[]
  readonly finding: (id: string) => Finding | undefined
}

const json = (value: unknown, status = 200): NextcloudHandler => {
  return (_request, res) => {
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
}
export { json as answerJson }

export const STATUS = { installed: true, maintenance: false, needsDbUpgrade: false, versionstring: '31.0.4' }
export const STATUS_PHP = '/status.php'
export const OCS_USER = '/ocs/v2.php/cloud/user'
export const NOTES_SETTINGS = '/index.php/apps/notes/api/v1/settings'
export const WELL_KNOWN = '/.well-known/openid-configuration'
export const OAUTH_WELL_KNOWN = '/.well-known/oauth-authorization-server'
export const METADATA_PATH = '/.well-known/oauth-protected-resource/mcp'

/** A healthy one in token-exchange mode, or with other options of the MCP server. */
export async function setUpDoctor(appOptions: McpAuthOptions = {}): Promise<DoctorSetup> {
  const as = await startAuthorizationServer()
  onTestFinished(() => as.close())
  const clientSecret = `canary-${randomBytes(18).toString('base64url')}`
  const secrets = [clientSecret]
  const provider: ProviderWays = { exchangeIsOn: true, exchanged: {} }
  Object.assign(as.metadata, {
    authorization_endpoint: `${as.issuer}/authorize`,
    grant_types_supported: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    scopes_supported: ['openid', 'offline_access'],
  })
  as.script(OAUTH_WELL_KNOWN, (_request, res) => {
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(as.metadata))
  })
  as.script('/authorize', { status: 302, headers: { location: `${as.issuer}/login?execution=1` } })

  const nextcloud = await startNextcloud()
  const answers: Record<string, NextcloudHandler> = {
    [STATUS_PHP]: json(STATUS),
    [OCS_USER]: json({ ocs: { meta: { statuscode: 200 }, data: { id: 'alice' } } }),
    [NOTES_SETTINGS]: json({ notesPath: 'Notes' }),
  }
  nextcloud.handle((request, res) => {
    const handler = answers[request.path.split('?')[0] ?? ''] ?? json({ message: 'no such page' }, 404)
    return handler(request, res)
  })

  const proxy: DoctorSetup['proxy'] = { handler: undefined }
  const site = await listen((req, res) => {
    const next = (): void => app(req, res)
    if (proxy.handler === undefined) next()
    else proxy.handler(req, res, next)
  })
  onTestFinished(() => site.close())
  const resource = `${site.url}/mcp`
  const auth = createMcpAuth(
    {
      issuer: as.issuer,
      resource,
      clientId: CLIENT_ID,
      clientSecret,
      nextcloud: { url: nextcloud.url },
      onEvent: () => undefined,
      ...appOptions,
    },
    systemClock,
  )
  onTestFinished(() => auth.close())
  const routes = auth.routes()
  const app = (req: IncomingMessage, res: ServerResponse): void =>
    routes(req, res, () => auth(req, res, () => res.end('{}')))

  const setup: DoctorSetup = {
    as,
    nextcloud,
    resource,
    options: {
      issuer: as.issuer,
      resource,
      'client-id': CLIENT_ID,
      'nextcloud-url': nextcloud.url,
    },
    environment: { OIDC_CLIENT_SECRET: clientSecret },
    provider,
    answers,
    proxy,
    token: await as.mint({ aud: resource }),
    secrets,
    run: (more = [], surroundings = {}) => runDoctor(setup, more, surroundings),
  }
  as.script('/token', tokenEndpoint(setup, clientSecret))
  return setup
}

/** A provider's token endpoint: who asks comes first, then the grant, then the token. */
function tokenEndpoint(setup: DoctorSetup, clientSecret: string): ScriptedAnswer {
  const { as, provider, secrets } = setup
  const credentials = `Basic ${Buffer.from(`${CLIENT_ID}:${clientSecret}`).toString('base64')}`
  return async ({ headers, form }, res) => {
    const answer = (status: number, body: object): unknown =>
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (headers.authorization !== credentials) {
      // A provider that quotes what it got, which is where a secret could get out.
      const sent = Buffer.from((headers.authorization ?? '').slice(6), 'base64').toString()
      return answer(401, { error: 'invalid_client', error_description: `Bad credentials ${sent}` })
    }
    if (form.get('grant_type') === 'refresh_token') return answer(400, { error: 'invalid_grant' })
    if (!provider.exchangeIsOn) {
      return answer(400, {
        error: 'unauthorized_client',
        error_description: `No exchange of ${form.get('subject_token') ?? ''}`,
      })
    }
    if (form.get('subject_token') !== setup.token) {
      return answer(400, { error: 'invalid_request', error_description: 'Invalid token' })
    }
    const token = await as.mint({ aud: form.getAll('audience'), client_id: CLIENT_ID, ...provider.exchanged })
    secrets.push(token)
    return answer(200, { access_token: token, token_type: 'Bearer', expires_in: 300 })
  }
}

async function runDoctor(
  setup: DoctorSetup,
  more: readonly string[],
  surroundings: Partial<Surroundings>,
): Promise<Outcome> {
  const { options, environment, secrets, token } = setup
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
  const outcome = await runIn([...args, ...(token === '' ? [] : ['--token-file', '-']), '--json', ...more], {
    environment,
    readStandardInput: () => Promise.resolve(`${token}\n`),
    ...surroundings,
  })
  if (token !== '') secrets.push(token)
  expectNoSecret(outcome.output, secrets)
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

/** Calls the command in surroundings of the test's own. */
export async function runIn(
  args: readonly string[],
  surroundings: Partial<Surroundings> = {},
): Promise<{ readonly status: number; readonly output: string; readonly complaint: string }> {
  let output = ''
  let complaint = ''
  const status = await doctor(args, {
    environment: {},
    clock: systemClock,
    directory: ROOT,
    readStandardInput: () => Promise.resolve(''),
    print: (text) => {
      output += text
    },
    complain: (text) => {
      complaint += text
    },
    ...surroundings,
  })
  return { status, output, complaint }
}

/** Characters in a row of a secret that are too many to be there by chance. */
const PART = 8

/** Expects that no secret is in a text, and no part of one either. */
export function expectNoSecret(text: string, secrets: readonly string[]): void {
  expect(secrets.length).toBeGreaterThan(0)
  const parts = new Set(
    secrets.flatMap((secret) =>
      Array.from({ length: Math.max(secret.length - PART + 1, 0) }, (_, at) => secret.slice(at, at + PART)),
    ),
  )
  for (let at = 0; at + PART <= text.length; at += 1) {
    if (parts.has(text.slice(at, at + PART))) expect.fail(`A part of a secret is at ${at} of the output`)
  }
}
