import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { browserOf, connectNotesClient, connectNotesClientV1 } from '../demo/client.js'
import { startIdentityProvider, type IdentityProvider } from '../demo/identity-provider.js'
import { listenOnLoopback } from '../demo/loopback.js'
import { startNextcloud } from '../demo/nextcloud.js'
import { createTimeline, type Timeline } from '../demo/timeline.js'

interface Surroundings {
  readonly identityProvider: IdentityProvider
  readonly nextcloudUrl: string
  readonly folder: string
  readonly timeline: Timeline
}

process.exitCode = (await check()) ? 0 : 1

/** Starts the app as a process of its own against the demo's provider and Nextcloud, once on each SDK, and uses it as a client does. */
async function check(): Promise<boolean> {
  const timeline = createTimeline(process.stdout)
  const identityProvider = await startIdentityProvider()
  const nextcloud = await startNextcloud({ issuer: identityProvider.issuer })
  const folder = await mkdtemp(join(tmpdir(), 'express-mcp-'))
  const surroundings = { identityProvider, nextcloudUrl: nextcloud.url, folder, timeline }
  try {
    await withApp(surroundings, 'v2', async (url) => {
      const browser = browserOf('alice')
      const pages: Promise<string>[] = []
      const client = await connectNotesClient({ url, browser, openLink: (link) => pages.push(browser.visit(link)) })
      const listed = await client.callTool('list_notes')
      const [page = ''] = await Promise.all(pages)
      timeline.check('SDK v2: the tool call that needed Nextcloud waited for the user', listed.includes('1. Shopping'))
      timeline.check('SDK v2: the page said so', pages.length === 1 && page.includes('<h1>Connected'))
      const written = await client.callTool('create_note', { title: 'New', content: 'Written by the check' })
      const [, id] = /^Wrote note (\d+), New\.$/.exec(written) ?? []
      timeline.check('SDK v2: after a step-up it writes', id !== undefined)
      timeline.check(
        'SDK v2: it reads',
        (await client.callTool('read_note', { id: Number(id) })).includes('by the check'),
      )
      await client.close()
      const { headers } = await fetch(new URL('/nextcloud/connect', url))
      timeline.check(
        'helmet and the rate limit are in front of the connect pages',
        headers.has('ratelimit') && headers.has('x-download-options'),
      )
    })
    await withApp(surroundings, 'v1', async (url) => {
      const browser = browserOf('bob')
      const client = await connectNotesClientV1({ url, browser })
      const refusal = await client.callTool('list_notes').catch(String)
      const [link] = /http:\S+/.exec(refusal) ?? []
      const page = link === undefined ? '' : await browser.visit(new URL(link))
      timeline.check('SDK v1: the tool gave a link as text, and it works', page.includes('<h1>Connected'))
      timeline.check('SDK v1: the next call works', (await client.callTool('list_notes')).includes('1. Shopping'))
      await client.close()
    })
  } catch (error) {
    timeline.check(`no step fails, but one did: ${error instanceof Error ? error.name : 'unknown'}`, false)
  } finally {
    await Promise.all([nextcloud.close(), identityProvider.close(), rm(folder, { recursive: true })])
  }
  return timeline.summary()
}

async function withApp(
  { identityProvider, nextcloudUrl, folder, timeline }: Surroundings,
  sdk: 'v1' | 'v2',
  use: (url: string) => Promise<void>,
): Promise<void> {
  const { issuer, client, nextcloudResource } = identityProvider
  const origin = await freeOrigin()
  const url = `${origin}/mcp`
  identityProvider.registerResource(url, ['notes:read', 'notes:write'])
  identityProvider.registerConnectCallback(`${origin}/nextcloud/callback`)
  const main = fileURLToPath(new URL('main.ts', import.meta.url))
  const app = spawn(process.execPath, [...process.execArgv, main], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      PORT: new URL(origin).port,
      MCP_SDK: sdk,
      GRANTS_FILE: join(folder, `${sdk}.db`),
      OIDC_ISSUER: issuer,
      OIDC_CLIENT_ID: client.clientId,
      OIDC_CLIENT_SECRET: client.clientSecret,
      NEXTCLOUD_MCP_SERVER_URL: url,
      NEXTCLOUD_HOST: nextcloudUrl,
      NEXTCLOUD_RESOURCE: nextcloudResource,
      TOKEN_ENCRYPTION_KEY: randomBytes(32).toString('base64url'),
    },
  })
  const ended = once(app, 'close') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
  let output = ''
  const listening = new Promise<void>((resolve) => {
    app.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.includes('Listening')) resolve()
    })
  })
  try {
    await Promise.race([listening, ended])
    timeline.heading(`On MCP SDK ${sdk}`)
    timeline.step('app', output.split('\n')[0] ?? '')
    await use(url)
  } finally {
    app.kill('SIGTERM')
  }
  const [code] = await ended
  timeline.check(`SDK ${sdk}: SIGTERM ends it in good order`, code === 0 && output.endsWith('Stopped\n'))
}

async function freeOrigin(): Promise<string> {
  const server = await listenOnLoopback()
  await server.close()
  return server.origin
}
