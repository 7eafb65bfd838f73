import { readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'

export const ROOT = path.resolve(import.meta.dirname, '../..')

/** Files of the repository that are pages of the site, as they are. */
export const PAGES: readonly string[] = globSync(
  ['{README,ARCHITECTURE,CHANGELOG,CONTRIBUTING,SECURITY}.md', 'docs/**/*.md', '!docs/api'],
  { cwd: ROOT },
).sort()

/** Returns the place of a page on the site. The README of a folder is its index; that of `docs/` stands beside the start page. */
export function placeOf(file: string): string {
  if (file === 'docs/README.md') return 'documentation.md'
  if (!file.includes('/')) return file === 'README.md' ? 'index.md' : file.toLowerCase()
  return file.replace(/^docs\//, '').replace(/\/README\.md$/, '/index.md')
}

const addressOf = (file: string): string => `/${placeOf(file).replace(/(index)?\.md$/, '')}`

/** Returns the first heading of a page, as plain text. */
function titleOf(file: string): string {
  const [, title = file] = /^# (.*)$/m.exec(readFileSync(path.join(ROOT, file), 'utf8')) ?? []
  return title.replaceAll('`', '')
}

interface SidebarItem {
  readonly text: string
  readonly link?: string
  readonly collapsed?: boolean
  readonly items?: SidebarItem[]
}

const item = (file: string, text = titleOf(file)): SidebarItem => ({ text, link: addressOf(file) })
const docs = (...names: string[]): SidebarItem[] => names.map((name) => item(`docs/${name}.md`))
const group = (text: string, items: SidebarItem[], collapsed = true): SidebarItem => ({ text, collapsed, items })
const within = (folder: string): string[] =>
  PAGES.filter((file) => file.startsWith(`docs/${folder}/`) && !file.endsWith('README.md'))

/** @param api the pages of the reference made from the docstrings */
export function sidebar(api: SidebarItem[]): SidebarItem[] {
  return [
    group(
      'Start',
      [
        item('README.md', 'What it is'),
        item('docs/install.md'),
        item('docs/modes.md'),
        ...docs('nextcloud-alone', 'app-password', 'keycloak', 'entra'),
        ...docs('move-from-sdk', 'move-from-jwt-bearer', 'move-from-python'),
        item('docs/README.md', 'All pages'),
      ],
      false,
    ),
    group(
      'Guides',
      docs('requests', 'files', 'testing', 'token-exchange', 'refresh-token', 'several-issuers', 'stores', 'proxies'),
    ),
    group(
      'Providers',
      docs('providers', 'okta', 'auth0', 'zitadel', 'authentik', 'nextcloud-oidc-app', 'nextcloud-oauth2-app'),
    ),
    item('docs/clients.md', 'Clients'),
    group('Operate', docs('doctor', 'operate', 'scaling', 'move-house')),
    group('Security', [item('SECURITY.md', 'Guarantees'), ...docs('attacks', 'dpop')]),
    item('docs/reliability.md', 'Reliability'),
    item('docs/performance.md'),
    group('Reference', [
      ...docs('options', 'errors'),
      group(
        'Each error',
        within('errors').map((file) => item(file)),
      ),
      ...docs('events'),
      group('API', api),
    ]),
    item('docs/write-an-adapter.md'),
    item('CHANGELOG.md'),
    group('How it is made', [
      item('ARCHITECTURE.md'),
      item('CONTRIBUTING.md'),
      item('docs/decisions/README.md'),
      ...within('decisions').map((file) => item(file)),
    ]),
  ]
}
