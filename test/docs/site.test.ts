import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { faultsOf } from '../../docs/.vitepress/built-site.js'
import { linkOnSite } from '../../docs/.vitepress/links.js'
import { PAGES, placeOf, sidebar } from '../../docs/.vitepress/pages.js'

it('the sidebar leads to every page, and to no other', () => {
  const links = (items: ReturnType<typeof sidebar>): string[] =>
    items.flatMap(({ link, items: within = [] }) => [...(link === undefined ? [] : [link]), ...links(within)])
  const pages = PAGES.map((file) => `/${placeOf(file).replace(/(index)?\.md$/, '')}`)

  expect(pages.length).toBeGreaterThan(50)
  expect(links(sidebar([])).sort()).toEqual(pages.sort())
})

it.each([
  ['files.md#upload', 'docs/requests.md', '/files.md#upload'],
  ['../SECURITY.md', 'docs/README.md', '/security.md'],
  ['docs/README.md', 'README.md', '/documentation.md'],
  ['../dpop.md', 'docs/errors/ERR_INVALID_TOKEN.md', '/dpop.md'],
  ['#metrics', 'docs/operate.md', '#metrics'],
  ['https://example.com', 'docs/operate.md', 'https://example.com'],
  ['no-such-page.md', 'docs/operate.md', 'no-such-page.md'],
  ['../examples/demo', 'docs/README.md', 'https://git.example/acme/auth/blob/HEAD/examples/demo'],
])('the link %s of %s is %s on the site', (href, page, address) => {
  expect(linkOnSite(href, page, 'https://git.example/acme/auth')).toBe(address)
})

it('a link into the repository is plain text where its address is not known', () => {
  expect(linkOnSite('../examples/demo', 'docs/README.md', undefined)).toBeUndefined()
})

it('the built site is searched for links that lead nowhere, and for what comes from elsewhere', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'site-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(path.join(folder, 'b.css'), '@import "https://fonts.example/a.css"; a { background: url(/a.png) }')
  writeFileSync(path.join(folder, 'b.html'), '<h2 id="there">')
  writeFileSync(
    path.join(folder, 'a.html'),
    `<a href="/b.html#there"></a><a class="x" href="/b.html#gone"></a><a href="#gone"></a><a href="/c.html"></a>
    <a href="https://example.com/c.html"></a><script src="https://cdn.example/a.js"></script><script src="/a.js"></script>`,
  )

  expect(faultsOf(folder).sort()).toEqual([
    '/a.html: #gone leads nowhere',
    '/a.html: /b.html#gone leads nowhere',
    '/a.html: /c.html leads nowhere',
    'a.html: <script src="https://cdn.example/a.js" is from elsewhere',
    'b.css: @import "https://fonts.example/a.css is from elsewhere',
  ])
})
