import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { logEvents } from '../../src/index.js'
import { RESOURCE, signingKey } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const PAGE = readFileSync(path.resolve(import.meta.dirname, '../../docs/events.md'), 'utf8')

it('docs/events.md shows the very lines that its listener prints', async () => {
  const { as, clock, open } = await world({ mode: 'none' })
  const lines: string[] = []
  const write = (line: string) => lines.push(line)
  const auth = open({
    clientId: 'mcp-server',
    requiredScopes: ['notes:read'],
    onEvent: logEvents({ error: write, warn: write, info: write, debug: write }),
  })
  const otherRealm = { iss: 'https://idp.example.com/realms/test' }
  const tokens = [
    await as.mint({ aud: ['account'] }),
    await as.mint({ exp: clock.now() / 1_000 - 3_600 }),
    await as.mint(otherRealm, { key: await signingKey('2025-10') }),
    'opaque-token',
    await as.mint({ scope: 'openid profile' }),
  ]
  for (const token of tokens) await expect(auth.verify(token)).rejects.toThrow()

  const shown = lines
    .map((line) => line.replaceAll(as.issuer, 'https://idp.example.com/realms/acme').replaceAll('"first"', '"2026-01"'))
    .join('\n')
  expect(PAGE.split('## Why was that a 401?')[1]).toContain('```text\n' + shown + '\n```\n')
  expect(PAGE).toContain('onEvent: logEvents(console)')
  expect(shown).toContain(RESOURCE)
})
