import { readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'
import { describe, expect, it } from 'vitest'
import { installCommand } from '../../src/cli/serve-packages.js'
import { claudeCode, inspector } from '../../src/serve/app-steps.js'
import { landingPage } from '../../src/serve/landing-page.js'
import { VARIABLES } from '../../src/serve/settings.js'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'docs/nextcloud-alone.md'), 'utf8')
const sources = globSync('src/**/*.ts', { cwd: root })
  .map((file) => readFileSync(path.join(root, file), 'utf8'))
  .join('\n')

describe('the page "One Nextcloud, and no identity provider"', () => {
  it('installs what serve asks for', () => {
    expect(page).toContain(`\n${installCommand([])}\n`)
  })

  it('has ten steps, and every variable of serve', () => {
    expect([...page.matchAll(/^\*\*(\d+)\. /gm)].map(([, number]) => Number(number))).toEqual(
      Array.from({ length: 10 }, (_, index) => index + 1),
    )
    for (const name of Object.keys(VARIABLES)) expect(page).toContain(name)
  })

  it.each([claudeCode, inspector])('says the same as the page at / of serve, from the same source: %s', (steps) => {
    const resource = 'http://localhost:3000/mcp'
    const { lines, then } = steps(resource)
    expect(page).toContain(`\n\`\`\`sh\n${lines.join('\n')}\n\`\`\`\n`)
    expect(page).toContain(then)
    const { html } = landingPage(resource, new URL('https://cloud.example.com'))
    expect(html).toContain(`<pre><code>${lines.join('\n')}</code></pre><p>${then}</p>`)
  })

  it('is read in two minutes, as far as the first note goes', () => {
    const steps = page.slice(page.indexOf('## From a running'), page.indexOf('## A public name'))
    const prose = steps.replace(/```[^]*?```/g, '').replace(/^!\[.*$/gm, '')
    expect(prose.match(/[\p{L}\d][\p{L}\d’'.-]*/gu)?.length).toBeLessThan(480)
  })

  it('has npx ask nothing before it installs', () => {
    for (const [line] of page.matchAll(/npx .*@modelcontextprotocol.*/g)) expect(line).toMatch(/^npx --yes /)
  })

  it.each([
    'Let this app use your Nextcloud?',
    'Yes, sign in',
    'Yes, allow it',
    'The sign-in was refused',
    'This sign-in is over',
    'Please connect again in your app',
    'That did not fit',
    'Not possible just now',
    'The app Notes is not installed in this Nextcloud',
    'Nextcloud does not take this sign-in any more (401)',
    'something else listens on port',
    'needs packages that are not installed',
    'a sign-in comes as far as the login page of Nextcloud',
    'Without the key the connections in the database cannot be read: keep a copy.',
    'Mend this before anybody signs in',
    'has nothing in it, although this is not a first start',
    'Nextcloud sent you to another address',
    'A sign-in begins in your app',
    'Too many attempts',
    'In Nextcloud, the redirection URI of the OAuth 2.0 client must be',
  ])('says what is shown: %s', (words) => {
    expect(page).toContain(words)
    expect(sources).toContain(words)
  })
})
