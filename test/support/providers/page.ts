import { readFileSync } from 'node:fs'
import path from 'node:path'
import { decodeJwt } from 'jose'
import ts from 'typescript'
import { expect, onTestFinished } from 'vitest'
import type { ConnectHandler } from '../../../src/http/router.js'
import type { McpAuthEvent, McpAuthOptions } from '../../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../../src/mcp-auth.js'
import { ask, askWith, type Answer } from '../answers.js'
import type { ManualClock } from '../clock.js'
import { bareHost } from '../hosts.js'
import type { PassedRequest } from '../protected-app.js'
import { STAND_IN_SECRET } from './stand-in.js'

const docs = path.resolve(import.meta.dirname, '../../../docs')

/** What the snippets of a page find when they run. */
interface Surroundings {
  /** Modules that they may import. */
  readonly modules: Readonly<Record<string, object>>
  /** Names that they take for granted. */
  readonly globals?: Readonly<Record<string, unknown>>
}

/** Runs a snippet of a page in `docs/`, in `ts` or `js`, counted from 0. */
export function runSnippet(page: string, index: number, { modules, globals = {} }: Surroundings): void {
  const text = readFileSync(path.join(docs, page), 'utf8')
  const code = [...text.matchAll(/^```[tj]s\n(.*?)^```/gms)][index]?.[1]
  if (code === undefined) throw new Error(`docs/${page} has no snippet ${index}`)
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS }
  const require = (name: string) => ({ __esModule: true, ...modules[name] })
  const names = { exports: {}, require, ...globals }
  const { outputText } = ts.transpileModule(code, { compilerOptions: options })
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the page is ours
  const run = new Function(...Object.keys(names), outputText) as (...values: unknown[]) => void
  run(...Object.values(names))
}

/**
 * The options that a page has its reader write, of its first snippet; the servers that it names are replaced.
 *
 * @param servers origin in the page → origin of the stand-in
 */
export function optionsOf(
  page: string,
  servers: Readonly<Record<string, string>>,
  modules: Readonly<Record<string, object>> = {},
): McpAuthOptions {
  let written: McpAuthOptions | undefined
  const mcpAuth = (options: McpAuthOptions) => {
    written = options
  }
  const env = { OIDC_CLIENT_SECRET: STAND_IN_SECRET }
  runSnippet(page, 0, { modules: { 'mcp-nextcloud-auth': { mcpAuth }, ...modules }, globals: { process: { env } } })
  if (written === undefined) throw new Error(`docs/${page} calls no mcpAuth()`)
  return replaced(written, servers) as McpAuthOptions
}

function replaced(value: unknown, servers: Readonly<Record<string, string>>): unknown {
  if (typeof value === 'string') {
    const [from, to] = Object.entries(servers).find(([origin]) => value.startsWith(origin)) ?? ['', '']
    return to + value.slice(from.length)
  }
  if (Array.isArray(value)) return value.map((item) => replaced(item, servers))
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replaced(item, servers)]))
}

/** An MCP server with the options of a page, which gets a Nextcloud token in each request. */
export interface RunningServer {
  readonly auth: McpAuth
  readonly url: string
  readonly events: McpAuthEvent[]
  /** Calls it with an MCP token: the Nextcloud token, and who called; or why not. */
  readonly call: (token: string) => Promise<Answer>
  readonly ask: () => Promise<Answer>
}

/** The answer to one call of a server, and the event that tells the operator why there was no Nextcloud token. */
export interface Outcome extends Answer {
  readonly failure: McpAuthEvent | undefined
  /** The claims of the Nextcloud token. */
  readonly claims: Record<string, unknown> | undefined
}

/** Starts a server with the options of a page. `nextcloud` of a change replaces single members. */
export async function startServer(
  options: McpAuthOptions,
  clock: ManualClock,
  change: Partial<McpAuthOptions> = {},
): Promise<RunningServer> {
  const events: McpAuthEvent[] = []
  const nextcloud = { ...options.nextcloud, ...change.nextcloud }
  const auth = createMcpAuth({ onEvent: (event) => events.push(event), ...options, ...change, nextcloud }, clock)
  onTestFinished(() => auth.close())
  const tool: ConnectHandler = (req: PassedRequest, res, next) => {
    void req.getNextcloudToken?.().then((nextcloudToken) => {
      const { clientId, scopes } = req.mcpAuth ?? {}
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify({ nextcloudToken, clientId, scopes }))
    }, next)
  }
  const app = await bareHost.start([auth.routes(), auth, tool, auth.errorHandler()])
  onTestFinished(() => app.close())
  return { auth, url: app.url, events, call: (token) => askWith(app.url, token), ask: () => ask(app.url) }
}

/** Calls a server once. */
export async function outcomeOf({ call, events }: RunningServer, mcpToken: string): Promise<Outcome> {
  const answer = await call(mcpToken)
  const { nextcloudToken } = answer.body as { readonly nextcloudToken?: string }
  const claims = nextcloudToken === undefined ? undefined : decodeJwt(nextcloudToken)
  return { ...answer, claims, failure: events.find(({ type }) => type === 'nextcloud.failed') }
}

/** Matches the outcome of a request that the provider refused, for the operator to mend. */
export function refused(error: string, hint: RegExp, more: object = {}): object {
  return { status: 502, challenge: undefined, failure: { error, hint: expect.stringMatching(hint) as string, ...more } }
}

/** Matches the outcome of a request whose MCP token the provider refused. */
export function rejected(error: string, description: RegExp): object {
  const errorDescription = expect.stringMatching(description) as string
  return {
    status: 401,
    body: { error: 'invalid_token' },
    failure: { code: 'ERR_SUBJECT_TOKEN_REJECTED', error, errorDescription },
  }
}
