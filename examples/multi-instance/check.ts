import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { browserOf, connectNotesClient } from '../demo/client.js'
import { startIdentityProvider } from '../demo/identity-provider.js'
import { listenOnLoopback } from '../demo/loopback.js'
import { startNextcloud } from '../demo/nextcloud.js'
import { createTimeline } from '../demo/timeline.js'
import { createRoundRobin } from './round-robin.js'

const CALLS = 40

const children: ChildProcess[] = []
const timeline = createTimeline(process.stdout)
const identityProvider = await startIdentityProvider()
const { issuer, client, nextcloudResource } = identityProvider
const nextcloud = await startNextcloud({ issuer })
const balancer = await listenOnLoopback()
const resource = `${balancer.origin}/mcp`
identityProvider.registerResource(resource, ['notes:read'])
identityProvider.registerConnectCallback(`${balancer.origin}/nextcloud/callback`)

try {
  const redisUrl = process.env['REDIS_URL'] ?? (await startRedis())
  const environment = {
    PATH: process.env['PATH'],
    PORT: '0',
    REDIS_URL: redisUrl,
    OIDC_ISSUER: issuer,
    OIDC_CLIENT_ID: client.clientId,
    OIDC_CLIENT_SECRET: client.clientSecret,
    NEXTCLOUD_MCP_SERVER_URL: resource,
    NEXTCLOUD_HOST: nextcloud.url,
    NEXTCLOUD_RESOURCE: nextcloudResource,
    TOKEN_ENCRYPTION_KEY: randomBytes(32).toString('base64url'),
  }
  const instances = await Promise.all([startInstance(environment), startInstance(environment)])
  const roundRobin = createRoundRobin(instances.map(({ origin }) => origin))
  balancer.serve(roundRobin.listener)

  timeline.heading('Two processes behind a round robin: alice signs in and connects Nextcloud')
  const browser = browserOf('alice')
  const pages: Promise<string>[] = []
  const openLink = (link: URL): void => void pages.push(browser.visit(link))
  const mcpClient = await connectNotesClient({ url: resource, browser, openLink })
  const first = await mcpClient.callTool('whoami')
  const page = (await Promise.all(pages)).join('\n')
  timeline.check('a link of one process is good at the other, and so is the grant', page.includes('<h1>Connected'))
  timeline.check('the tool acts as alice', first === 'alice')

  timeline.heading('One of them is killed while her client works')
  const before = roundRobin.answered()
  timeline.check(
    'both have answered her',
    before.every((count) => count > 0),
  )
  let [right, repeated] = [0, 0]
  for (let call = 1; call <= CALLS; call += 1) {
    const answer = mcpClient.callTool('whoami')
    if (call === CALLS / 2) instances[0].process.kill('SIGKILL')
    // The one call that was under way in it may fail, and is repeated.
    const text = await answer.catch(() => {
      repeated += 1
      return mcpClient.callTool('whoami')
    })
    if (text === 'alice') right += 1
  }
  const [ofKilled = 0, ofOther = 0] = roundRobin.answered().map((count, index) => count - (before[index] ?? 0))
  timeline.step('round robin', `${ofKilled} answers of the process that was killed, ${ofOther} of the other`)
  timeline.check(`all ${CALLS} calls were answered, and at most one was repeated`, right === CALLS && repeated <= 1)
  timeline.check('the process was killed amid the calls', ofKilled > 0 && ofOther > ofKilled)
  timeline.check('alice was not asked again', pages.length === 1)
  await mcpClient.close()
} catch (error) {
  timeline.check(`no step fails, but one did: ${error instanceof Error ? error.message : 'unknown'}`, false)
}
const allKept = timeline.summary()
// Redis, which began first, ends last: instances that end may still write.
for (const child of children.reverse()) await stop(child)
await Promise.all([balancer.close(), nextcloud.close(), identityProvider.close()])
process.exitCode = allKept ? 0 : 1

/** A Redis of this check's own, which writes nothing to disk. */
async function startRedis(): Promise<string> {
  const probe = await listenOnLoopback()
  const { port } = new URL(probe.origin)
  await probe.close()
  const redis = run('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', ''], {
    PATH: process.env['PATH'],
  })
  await printed(redis, /Ready to accept connections/)
  return `redis://127.0.0.1:${port}`
}

async function startInstance(environment: NodeJS.ProcessEnv) {
  const main = new URL('main.ts', import.meta.url).pathname
  const child = run(process.execPath, ['--import', 'tsx', main], environment)
  const [, origin = ''] = await printed(child, /Listening on (\S+)/)
  return { process: child, origin }
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return child
}

/** Waits for a line of output. */
async function printed(child: ChildProcess, line: RegExp): Promise<RegExpExecArray> {
  let output = ''
  child.stdout?.setEncoding('utf8')
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(`${child.spawnfile} ended`)))
  const found = new Promise<RegExpExecArray>((resolve) => {
    child.stdout?.on('data', (text: string) => {
      output += text
      const match = line.exec(output)
      if (match !== null) resolve(match)
    })
  })
  return Promise.race([found, ended])
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  child.kill()
  await once(child, 'exit')
}
