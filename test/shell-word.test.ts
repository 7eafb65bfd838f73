import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { shellWord } from '../src/shell-word.js'

it.each([
  'alice@example.com',
  'https://mcp.example.com/mcp',
  '',
  "o'neil",
  "'; exit 1; '",
  '$(exit 1)`exit 1`',
  'two words',
  '"a\\b"',
  '!*?[a]{1,2}~',
  'first\nsecond',
])('a shell reads %j as it was', (text) => {
  expect(execFileSync('sh', ['-c', `printf %s ${shellWord(text)}`], { encoding: 'utf8' })).toBe(text)
})

it('quotes nothing that is plain', () => {
  expect(shellWord('https://mcp.example.com/mcp')).toBe('https://mcp.example.com/mcp')
})
