import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, '../..')

/** Verifies a token that is none, and returns what comes out at stderr. */
async function refuse(NODE_DEBUG: string, options = ''): Promise<string> {
  const script = `
    const { mcpAuth } = await import('./src/index.js')
    const auth = mcpAuth({ issuer: 'https://idp.example.com', resource: 'https://mcp.example.com/mcp', requiredScopes: ['a'], ${options} })
    await auth.verify('canary').catch(() => undefined)`
  const { stderr } = await run(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: root,
    env: { ...process.env, NODE_DEBUG },
  })
  return stderr
}

it('writes each decision in one line with NODE_DEBUG=mcp-nextcloud-auth, and no token', async () => {
  const lines = (await refuse('mcp-nextcloud-auth', 'onEvent: () => undefined')).trim().split('\n')

  expect(lines).toEqual([expect.stringMatching(/^MCP-NEXTCLOUD-AUTH \d+: token\.rejected .+"reason":"opaque"/)])
  expect(lines[0]).not.toContain('canary')
})

it('writes nothing of it without', async () => {
  expect(await refuse('http2', 'onEvent: () => undefined')).toBe('')
})
