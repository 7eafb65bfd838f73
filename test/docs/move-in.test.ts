import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import * as mcpExpress from '@modelcontextprotocol/express'
import * as mcpNode from '@modelcontextprotocol/node'
import * as v1Errors from '@modelcontextprotocol/sdk/server/auth/errors.js'
import * as v1BearerAuth from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import * as v1Router from '@modelcontextprotocol/sdk/server/auth/router.js'
import * as mcpServer from '@modelcontextprotocol/server'
import * as jose from 'jose'
import { expect, it, onTestFinished } from 'vitest'
import { mcpAuth, type McpAuthOptions } from '../../src/index.js'
import { fakeProvider, type FakeProvider } from '../../src/testing/testing.js'
import { ask, type Answer } from '../support/answers.js'
import { runSnippet } from '../support/providers/page.js'
import { serveSnippet } from '../support/snippet-server.js'

// By `require`, because its types give `req.auth` another shape in the whole project.
const jwtBearer = createRequire(import.meta.url)('express-oauth2-jwt-bearer') as object

const MODULES = {
  '@modelcontextprotocol/express': mcpExpress,
  '@modelcontextprotocol/node': mcpNode,
  '@modelcontextprotocol/sdk/server/auth/errors.js': v1Errors,
  '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js': v1BearerAuth,
  '@modelcontextprotocol/sdk/server/auth/router.js': v1Router,
  '@modelcontextprotocol/server': mcpServer,
  'express-oauth2-jwt-bearer': jwtBearer,
  jose,
  'mcp-nextcloud-auth': { mcpAuth: (options: McpAuthOptions) => mcpAuth({ onEvent: () => undefined, ...options }) },
}

/** The snippets of a page, counted from 0, and the requests of its table. */
const GUIDES = {
  'move-from-sdk.md': { before: [1, 2], after: 3, path: '/mcp', tools: true },
  'move-from-jwt-bearer.md': { before: [0], after: 1, path: '/notes', tools: false },
} as const

type Page = keyof typeof GUIDES

async function provider(): Promise<FakeProvider> {
  const started = await fakeProvider()
  onTestFinished(() => started.close())
  return started
}

/** Runs a snippet of a page against a provider, and returns what sends a request to it. */
async function serve(page: Page, index: number, { issuer }: FakeProvider) {
  const { path: place, tools } = GUIDES[page]
  const exports = {}
  if (tools) runSnippet(page, 0, { modules: MODULES, globals: { exports } })
  const url = await serveSnippet(page, index, {
    modules: { ...MODULES, './mcp.js': exports },
    globals: { process: { env: { OIDC_ISSUER: issuer } } },
  })
  const send = (authorization?: string, query = ''): Promise<Answer> =>
    ask(url, {
      path: place + query,
      headers: [
        ['Accept', 'application/json, text/event-stream'],
        ['Content-Type', 'application/json'],
        ...(authorization === undefined ? [] : [['Authorization', authorization] as const]),
      ],
      ...(tools && { method: 'POST', body: JSON.stringify(CALL) }),
    })
  return Object.assign(send, { get: (at: string) => ask(url, { path: at }) })
}

const CALL = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'who', arguments: {} } }
const GOOD = { scope: 'notes:read' }

/** What an answer means to a client, as the tables have it. */
function toldBy({ status, challenge, retryAfter }: Answer): string {
  const error = /(?<!\w)error="(\w+)"/.exec(challenge ?? '')?.[1]
  return `${status}${error === undefined ? '' : ` \`${error}\``}${retryAfter === undefined ? '' : ' with `Retry-After`'}`
}

/** Sends each request of the tables to an app, and returns what it is told. */
async function answersOf(page: Page, index: number): Promise<Record<string, string>> {
  const idp = await provider()
  const send = await serve(page, index, idp)
  const bearer = async (...of: Parameters<FakeProvider['token']>) => `Bearer ${await idp.token(...of)}`
  const gone = await fakeProvider()
  const sendWhileDown = await serve(page, index, gone)
  const beforeItWent = `Bearer ${await gone.token(GOOD)}`
  await gone.close()
  const answers = {
    'a good token': send(await bearer(GOOD)),
    'a good token as `?access_token=`': send(undefined, `?access_token=${await idp.token(GOOD)}`),
    'no token': send(),
    '`Basic` in place of `Bearer`': send('Basic eDp5'),
    'a good token, and a word behind it': send(`${await bearer(GOOD)} more`),
    'an expired token': send(await bearer(GOOD, { lifetime: -60 })),
    'a token for another server': send(await bearer({ ...GOOD, aud: 'https://other.example.com' })),
    'a token without a required scope': send(await bearer()),
    'a good token while the provider is down': sendWhileDown(beforeItWent),
  }
  const told = Object.entries(answers).map(async ([name, answer]) => [name, toldBy(await answer)] as const)
  return Object.fromEntries(await Promise.all(told))
}

/** The rows of the table of what changes for clients: request, before, here. */
function rowsOf(page: Page): string[][] {
  const text = readFileSync(path.resolve(import.meta.dirname, '../../docs', page), 'utf8')
  const [, section = ''] = text.split('## What changes for clients')
  const lines = section.match(/^\|.*\|$/gm) ?? []
  const cells = (line: string): string[] => line.split('|').slice(1, -1)
  return lines.slice(2).map((line) => cells(line).map((cell) => cell.trim()))
}

const APPS = Object.entries(GUIDES).flatMap(([page, { before, after }]) => [
  ...before.map((index) => ({ page: page as Page, index, is: 'before', column: 1 })),
  { page: page as Page, index: after, is: 'after', column: 2 },
])

it.each(APPS)('snippet $index of $page, $is, answers clients as the page says', async ({ page, index, column }) => {
  const rows = rowsOf(page)
  expect(rows.length).toBeGreaterThan(7)

  const answers = await answersOf(page, index)

  expect(rows.map(([request = '']) => [request, answers[request]])).toEqual(rows.map((row) => [row[0], row[column]]))
})

it.each(APPS)('snippet $index of $page, $is, lets a request through to the same code', async ({ page, index }) => {
  const idp = await provider()
  const send = await serve(page, index, idp)

  const { body } = await send(`Bearer ${await idp.token(GOOD)}`)

  expect(JSON.stringify(body)).toContain(GUIDES[page].tools ? 'mcp-client: notes:read' : '{"notesOf":"alice"}')
})

const METADATA = '/.well-known/oauth-protected-resource/mcp'

it.each(GUIDES['move-from-sdk.md'].before)(
  'snippet %i of the SDK guide publishes what the app publishes after it',
  async (index) => {
    const idp = await provider()
    const [before, after] = await Promise.all(
      [index, GUIDES['move-from-sdk.md'].after].map(async (each) => {
        const send = await serve('move-from-sdk.md', each, idp)
        return { document: await send.get(METADATA), challenge: (await send()).challenge }
      }),
    )

    expect(after?.document.body).toEqual({ ...(before?.document.body as object), bearer_methods_supported: ['header'] })
    for (const part of [/resource_metadata="[^"]+"/, /(?<!\w)scope="[^"]+"/])
      expect(part.exec(after?.challenge ?? '')?.[0]).toBe(part.exec(before?.challenge ?? 'none')?.[0])
  },
)
