import { expect, it } from 'vitest'
import { claudeCode, inspector } from '../../src/serve/app-steps.js'

it.each([
  ['https://mcp.example.com/mcp', ' https://mcp.example.com/mcp'],
  ['https://mcp.example.com/$(x);y', " 'https://mcp.example.com/$(x);y'"],
])('writes an address so that a shell reads nothing more into it: %s', (resource, word) => {
  expect([claudeCode(resource), inspector(resource)].map(({ lines }) => lines[0]?.endsWith(word))).toEqual([true, true])
})
