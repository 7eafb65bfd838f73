import { expect, it } from 'vitest'
import { landingPage } from '../../src/serve/landing-page.js'

it.each([
  ['https://mcp.example.com/mcp', undefined],
  ['https://localhost:8443/mcp', 'This address is one of this machine alone.'],
  ['http://mcp.example.com/mcp', 'This address has no https.'],
])('the landing page of %s says who cannot use it', (resource, words) => {
  const { html } = landingPage(resource, new URL('https://cloud.example.com'))
  const note = /<div class="note"><p>([^.]*\.)/.exec(html)?.[1]

  expect(note).toBe(words)
})
