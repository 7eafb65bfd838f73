/**
 * Sends the attacks of `test/attacks/corpus/` to this package and to others, each in an Express app of its own, and writes who holds them
 * into `attacks.json` and `docs/attacks.md`.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type RequestHandler } from 'express'
import { format, resolveConfig } from 'prettier'
import { GROUPS, type Attack } from '../test/attacks/corpus/attack.js'
import { CORPUS, LET_IN } from '../test/attacks/corpus/corpus.js'
import { createForge, EVIL_NAME, PUBLISHED, type Forge } from '../test/attacks/corpus/forge.js'
import { exchange } from '../test/attacks/corpus/wire.js'
import { startAuthorizationServer } from '../test/support/scripted-authorization-server.js'
import { installedVersions } from './versions.js'
import { attacksPage, OURS, type Outcome, type Results } from './attacks-page.js'
import { RESOURCE } from './tokens.js'

const SCOPES = ['notes:read']

/** Each as its README has it, for tokens of one issuer, one audience and one scope. */
const MIDDLEWARES: Readonly<Record<string, (issuer: string) => Promise<RequestHandler[]>>> = {
  [OURS]: async (issuer) => {
    const { mcpAuth } = await import('../dist/index.js')
    const auth = mcpAuth({ issuer, resource: RESOURCE, requiredScopes: SCOPES, onEvent: () => undefined })
    return [auth, auth.routes() as RequestHandler]
  },
  'express-oauth2-jwt-bearer': (issuer) => jwtBearer(issuer, false),
  'express-oauth2-jwt-bearer, strict': (issuer) => jwtBearer(issuer, true),
  '@modelcontextprotocol/express + jose': async (issuer) => {
    const { requireBearerAuth } = await import('@modelcontextprotocol/express')
    const { OAuthError, OAuthErrorCode } = await import('@modelcontextprotocol/server')
    const { createRemoteJWKSet, jwtVerify } = await import('jose')
    const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`))
    const verifyAccessToken = async (token: string) => {
      const { payload } = await jwtVerify(token, keys, { issuer, audience: RESOURCE }).catch(() => {
        throw new OAuthError(OAuthErrorCode.InvalidToken, 'Invalid token')
      })
      const { client_id: clientId, scope, exp } = payload
      return {
        token,
        clientId: String(clientId),
        scopes: String(scope).split(' '),
        ...(exp !== undefined && { expiresAt: exp }),
      }
    }
    return [requireBearerAuth({ verifier: { verifyAccessToken }, requiredScopes: SCOPES })]
  },
  'mcp-auth': async (issuer) => {
    const { fetchServerConfig, MCPAuth } = await import('mcp-auth')
    const server = await fetchServerConfig(issuer, { type: 'oidc' })
    return [new MCPAuth({ server }).bearerAuth('jwt', { audience: RESOURCE, requiredScopes: SCOPES })]
  },
}

async function jwtBearer(issuerBaseURL: string, strict: boolean): Promise<RequestHandler[]> {
  const { auth, requiredScopes } = await import('express-oauth2-jwt-bearer')
  return [auth({ issuerBaseURL, audience: RESOURCE, strict }), requiredScopes(SCOPES)]
}

/** An app that counts the requests that get through. */
interface Target {
  readonly port: number
  readonly reached: () => number
  readonly close: () => void
}

async function startTarget(middlewares: readonly RequestHandler[]): Promise<Target> {
  let reached = 0
  const app = express()
  for (const middleware of middlewares) app.use(middleware)
  app.use((_req, res) => {
    reached += 1
    res.send('reached')
  })
  const server = createServer({ maxHeaderSize: 81_920 }, app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    reached: () => reached,
    close: () => server.close().closeAllConnections(),
  }
}

/** Sends an attack, and says what became of it. */
async function attack(
  target: Target,
  { request, refused, answers = 1 }: Attack,
  forge: Forge,
  asked: () => number,
): Promise<Outcome> {
  const [before, askedBefore] = [target.reached(), asked()]
  const answer = (await exchange(target.port, request(forge), answers))[answers - 1]
  if (target.reached() - before >= answers) return 'let in'
  if (asked() > askedBefore) return 'asked the attacker'
  if (answer === undefined) return 'no answer'
  if (answer.status >= 500) return 'server error'
  if ((answer.head + answer.body).includes(EVIL_NAME)) return 'repeated what was sent'
  return answer.status >= 400 || refused === 'metadata' ? 'held' : 'let in'
}

// Express would show the stack of each error.
process.env['NODE_ENV'] = 'production'
console.error = () => undefined

const as = await startAuthorizationServer()
as.keys.push(...(PUBLISHED as never[]))
Object.assign(as.metadata, {
  authorization_endpoint: `${as.issuer}/authorize`,
  grant_types_supported: ['authorization_code'],
  code_challenge_methods_supported: ['S256'],
})
let asked = 0
const evil = createServer((_req, res) => {
  asked += 1
  res.end('{}')
})
await new Promise<void>((resolve) => evil.listen(0, '127.0.0.1', resolve))
const forge = createForge({
  issuer: as.issuer,
  resource: RESOURCE,
  evil: `http://127.0.0.1:${(evil.address() as AddressInfo).port}`,
  now: Math.floor(Date.now() / 1_000),
})

const results: Results = {
  at: new Date().toISOString(),
  node: process.version,
  versions: await installedVersions(),
  groups: {},
  failures: {},
  refused: {},
}
for (const [name, middlewaresOf] of Object.entries(MIDDLEWARES)) {
  const target = await startTarget(await middlewaresOf(as.issuer))
  const refused: string[] = []
  for (const [what, request] of LET_IN) {
    const before = target.reached()
    await exchange(target.port, request(forge))
    if (target.reached() === before) refused.push(what)
  }
  results.refused[name] = refused
  const failures: Results['failures'][string] = []
  for (const group of Object.keys(GROUPS)) {
    const attacks = CORPUS.filter((each) => each.group === group && typeof each.refused !== 'object')
    const isFor = group !== 'routes' || name === OURS
    let held = 0
    for (const each of isFor ? attacks : []) {
      const outcome = await attack(target, each, forge, () => asked)
      if (outcome === 'held') held += 1
      else failures.push({ group, name: each.name, outcome })
    }
    ;(results.groups[group] ??= {})[name] = isFor ? { held, of: attacks.length } : null
  }
  results.failures[name] = failures
  target.close()
}
evil.close()
await as.close()

const page = new URL('../docs/attacks.md', import.meta.url)
await writeFile(new URL('attacks.json', import.meta.url), `${JSON.stringify(results, null, 2)}\n`)
const options = { ...(await resolveConfig(page)), parser: 'markdown' }
await writeFile(page, await format(attacksPage(await readFile(page, 'utf8'), results), options))
for (const [name, failures] of Object.entries(results.failures))
  console.log(
    `${name}: ${failures.length} not held, ${(results.refused[name] ?? []).join(', ') || 'no'} good request refused`,
  )
process.exitCode = (results.failures[OURS] ?? []).length > 0 ? 1 : 0
process.exit()
