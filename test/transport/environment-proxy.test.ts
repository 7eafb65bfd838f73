import { execFile, execFileSync } from 'node:child_process'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { leaveOut } from '../support/left-out.js'

const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, '../..')
const env = { ...process.env, NODE_USE_ENV_PROXY: '1', NO_PROXY: 'direct.invalid' }
const PROBE = "require('node:http').globalAgent.options.proxyEnv !== undefined"
const isHonoured = execFileSync(process.execPath, ['-p', PROBE], { env, encoding: 'utf8' }).trim() === 'true'
if (!isHonoured) leaveOut('NODE_USE_ENV_PROXY', `Node ${process.versions.node} knows no such variable`)

/** Asks for each URL in a process of its own, with agents of this package's own. */
const FETCH = `
  const { createOwnAgents, withNodeFetch } = await import('./src/transport/node-fetch.ts')
  const own = createOwnAgents()
  const fetch = withNodeFetch(own)
  for (const url of process.argv.slice(1)) {
    await fetch(url, {}).then(async (response) => console.log(await response.text()), (error) => console.log(error.code))
  }
  own.close()
`

describe.runIf(isHonoured)('NODE_USE_ENV_PROXY', () => {
  it('sends requests of own connections to the proxy of the environment', async () => {
    const asked: string[] = []
    const proxy = createServer((req, res) => {
      asked.push(`${req.method ?? ''} ${req.url ?? ''}`)
      res.end('by proxy')
    })
    proxy.on('connect', (req, socket) => {
      asked.push(`CONNECT ${req.url ?? ''}`)
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    onTestFinished(() => void proxy.close())
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
    const proxies = { HTTP_PROXY: address, HTTPS_PROXY: address, http_proxy: address, https_proxy: address }
    const { stdout } = await run(
      process.execPath,
      [
        '--import',
        'tsx',
        '--input-type=module',
        '-e',
        FETCH,
        'http://cloud.invalid/a',
        'https://cloud.invalid/',
        'http://direct.invalid/',
      ],
      { cwd: root, env: { ...env, ...proxies } },
    )
    expect(asked).toEqual(['GET http://cloud.invalid/a', 'CONNECT cloud.invalid:443'])
    expect(stdout.split('\n')).toMatchObject([
      'by proxy',
      expect.stringMatching(/PROXY/),
      expect.stringMatching(/^E(?:NOTFOUND|AI_AGAIN)/),
      '',
    ])
  })
})
