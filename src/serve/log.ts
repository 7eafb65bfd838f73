import type { IncomingMessage, ServerResponse } from 'node:http'
import type { McpAuthInfo } from '../auth-info.js'
import { logEvents } from '../event-log.js'
import { printableJson } from '../errors/rejection-details.js'
import type { McpAuthEvent } from '../events.js'
import { toolNames, toolsCalled } from './tools/tools.js'

/** Writes a line to the log. */
export type WriteLine = (line: string) => void

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
/** Paths that are told as they are. Others may hold anything, tickets and codes included. */
const TOLD = [
  '/',
  '/health/live',
  '/health/ready',
  '/oauth/authorize',
  '/oauth/token',
  '/oauth/register',
  '/oauth/revoke',
  '/oauth/jwks',
  '/oauth/sign-in',
  '/nextcloud',
  '/nextcloud/callback',
  '/nextcloud/connect',
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
  '/.well-known/oauth-protected-resource',
]

/** Returns a handler that writes one line for each request, without queries, headers and bodies. */
export function logRequests(write: WriteLine, mcpPath: string) {
  const told = [mcpPath, ...TOLD]
  return (req: IncomingMessage & { mcpAuth?: McpAuthInfo; body?: unknown }, res: ServerResponse, next: () => void) => {
    const startedAt = performance.now()
    const { method = '', url = '' } = req
    const path = shownPath(url, told)
    res.once('close', () => {
      const status = res.writableFinished ? String(res.statusCode) : 'broken off'
      const subject = req.mcpAuth === undefined ? '' : ` subject=${printableJson(req.mcpAuth.subject)}`
      // Each once: a batch that is refused may have any number of calls.
      const called = new Set(toolsCalled(req.body).filter((name) => toolNames.has(name)))
      const tools = called.size === 0 ? '' : ` tool=${[...called].join(',')}`
      const verb = METHODS.has(method) ? method : 'OTHER'
      write(`${verb} ${path} ${status} ${Math.round(performance.now() - startedAt)} ms${subject}${tools}`)
    })
    next()
  }
}

function shownPath(url: string, told: readonly string[]): string {
  const [path = ''] = url.split('?', 1)
  if (told.includes(path)) return path
  const below = told.find((known) => known !== '/' && path.startsWith(`${known}/`))
  return below === undefined ? '(another path)' : `${below}/…`
}

/** Returns a listener that writes events but those of every request, which the line of the request tells. */
export function createListener(write: WriteLine): (event: McpAuthEvent) => void {
  const at = (level: string) => (line: string) => write(`${level} ${line}`)
  const log = logEvents({ error: at('error'), warn: at('warn'), info: at('info'), debug: () => undefined })
  return (event) => {
    log(event)
    if ('error' in event && event.error === 'invalid_client') write(WRONG_SECRET)
  }
}

const WRONG_SECRET =
  'look at NEXTCLOUD_OIDC_CLIENT_SECRET: Nextcloud does not take it. If it is lost, add a client again in Nextcloud, set both variables, and start again'
