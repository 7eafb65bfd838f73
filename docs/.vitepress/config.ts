import { defineConfig } from 'vitepress'
import { API } from './api.js'
import { faultsOf } from './built-site.js'
import { headingAnchor } from './heading-anchor.js'
import { REPOSITORY, repositoryLinks } from './links.js'
import { PAGES, placeOf, ROOT, sidebar } from './pages.js'

export default defineConfig({
  title: 'mcp-nextcloud-auth',
  description: 'Middleware for MCP servers whose tools work in Nextcloud.',
  // No icon: without this, browsers ask for one that is not there.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcDir: ROOT,
  srcExclude: ['{bench,examples,src,test,test-d,.github}/**', 'CODE_OF_CONDUCT.md'],
  outDir: `${ROOT}/.cache/site`,
  cacheDir: `${ROOT}/.cache/vitepress`,
  rewrites: {
    ...Object.fromEntries(PAGES.map((file) => [file, placeOf(file)])),
    'docs/api/:entry.md': 'api/:entry.md',
  },
  ignoreDeadLinks: 'localhostLinks',
  markdown: { anchor: { slugify: headingAnchor }, config: repositoryLinks },
  buildEnd({ outDir }) {
    const faults = faultsOf(outDir)
    if (faults.length > 0) throw new Error(faults.join('\n'))
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: sidebar(API),
    ...(REPOSITORY !== undefined && { socialLinks: [{ icon: 'github' as const, link: REPOSITORY }] }),
  },
})
