import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import * as mcpNode from '@modelcontextprotocol/node'
import * as mcpServer from '@modelcontextprotocol/server'
import express from 'express'
import { expect, it, onTestFinished } from 'vitest'
import { mcpAuth, type McpAuthOptions } from '../../src/index.js'
import * as mcpV2 from '../../src/mcp/v2.js'
import { ask } from '../support/answers.js'
import { appPasswordWorld, waitingPage, type AppPasswordWorld } from '../support/login-visits.js'
import { mcpClients } from '../support/mcp-clients.js'
import { runSnippet } from '../support/providers/page.js'
import { serveSnippet } from '../support/snippet-server.js'

const README = path.resolve(import.meta.dirname, '../../README.md')
const page = readFileSync(README, 'utf8')

it('the README is read in minutes: 12 KB at most', () => {
  expect(statSync(README).size).toBeLessThanOrEqual(12 * 1_024)
})

it('the README has the two commands, each by itself', () => {
  for (const command of ['npm ci && npm start', 'npm ci && npm test'])
    expect(page).toContain(`\n\`\`\`sh\n${command}\n\`\`\`\n`)
})

it('the first lines make a tool of an app answer with the account of whoever calls it', async () => {
  const world = await appPasswordWorld()
  const app = express()
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const registrations: ((server: mcpServer.McpServer) => unknown)[] = []
  const mcp = mcpServer.createMcpHandler(() => {
    const made = new mcpServer.McpServer({ name: 'app', version: '1.0.0' })
    for (const register of registrations) register(made)
    return made
  })
  const handle = mcpNode.toNodeHandler(mcp)
  const yourHandler: express.RequestHandler = (req, res) => void handle(req, res, req.body)
  const registerTool = (name: string, config: { description: string }, tool: mcpServer.ToolCallback) =>
    registrations.push((made) => made.registerTool(name, config, tool))
  const globals = { app, yourHandler, server: { registerTool }, process: { env: { OIDC_CLIENT_SECRET: 'secret' } } }
  runSnippet('../README.md', 0, { modules: modulesIn(world), globals })

  const { answer } = await connected(world, url)
  expect(answer.text).toContain('"id":"jane"')
  expect((await ask(url, { path: '/mcp', method: 'POST' })).status).toBe(401)
})

/** The place of the whole server among the snippets. */
const WHOLE_SERVER = 1

const MODULES = {
  '@modelcontextprotocol/node': mcpNode,
  '@modelcontextprotocol/server': mcpServer,
  'mcp-nextcloud-auth': { mcpAuth },
  'mcp-nextcloud-auth/mcp-v2': mcpV2,
}

/** The modules of a snippet whose values are those of a provider and a Nextcloud that are here. */
function modulesIn(world: AppPasswordWorld) {
  const mcpAuth = ({ scopesSupported = [], connect = {}, nextcloud }: McpAuthOptions) => {
    expect(nextcloud?.mode).toBe('app-password')
    return world.open({ scopesSupported, connect })
  }
  return { ...MODULES, 'mcp-nextcloud-auth': { mcpAuth } }
}

/** Calls the tool of a server until its user has connected; what it says first, and then. */
async function connected(world: AppPasswordWorld, url: string) {
  const token = await world.as.mint({ sub: '248289761001' })
  const client = await mcpClients['SDK v2, 2026-07-28']({ url: `${url}/mcp`, token, elicitation: undefined })
  const { text: refusal } = await client.callTool('whoami')
  const browser = world.browser(url)
  const signedIn = { claims: { preferred_username: 'jane' } }
  const agreed = await world.agree(browser, /https:\S+/.exec(refusal)?.[0] ?? '')
  const { login, next } = waitingPage(await browser.open(await world.authorize(agreed, '248289761001', signedIn)))
  await world.nextcloud.grant(login, 'jane')
  expect((await browser.open(next)).status).toBe(200)
  return { refusal, answer: await client.callTool('whoami') }
}

it('the server starts with the values that it has, and answers with what the README says', async () => {
  const globals = { process: { env: { OIDC_CLIENT_SECRET: 'secret' } } }
  const url = await serveSnippet('../README.md', WHOLE_SERVER, { modules: MODULES, globals })

  const { status, challenge } = await ask(url, { path: '/mcp', method: 'POST' })

  expect(page).toContain(`HTTP/1.1 ${status} Unauthorized\nWWW-Authenticate: ${challenge ?? ''}\n`)
})

it('the server prints what the README says, from the first call to the account of the user', async () => {
  const world = await appPasswordWorld()
  const url = await serveSnippet('../README.md', WHOLE_SERVER, { modules: modulesIn(world) })

  const { refusal, answer } = await connected(world, url)

  const [shown = ''] = refusal
    .replace(/until \S+: /, 'until …: ')
    .replace(/ticket=\S+/, 'ticket=…')
    .split('\n')
  expect(page).toContain(`\n\`\`\`text\n${shown}\n\`\`\`\n`)
  expect(answer).toMatchObject({ isError: false })
  const [account] = /"id":"\w+"/.exec(answer.text) ?? []
  expect(page).toContain(`(\`${account ?? ''}\`)`)
})
