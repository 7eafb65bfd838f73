import { existsSync } from 'node:fs'
import path from 'node:path'
import type { MarkdownRenderer } from 'vitepress'
import { PAGES, placeOf, ROOT } from './pages.js'

type Token = ReturnType<MarkdownRenderer['parse']>[number]

const { GITHUB_REPOSITORY, GITHUB_SERVER_URL = 'https://github.com' } = process.env

/** The address of the repository, if it is known. */
export const REPOSITORY = GITHUB_REPOSITORY === undefined ? undefined : `${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}`

/**
 * Returns a link of a page as the site has it: to another page of the site, else into the repository. Undefined: the address of the
 * repository is not known. What leads nowhere stays as it is, and VitePress reports it.
 */
export function linkOnSite(href: string, page: string, repository: string | undefined): string | undefined {
  if (/^(?:\w+:|#|\/)/.test(href)) return href
  const [file = '', anchor] = href.split('#')
  const target = path.posix.join(path.posix.dirname(page), file)
  const hash = anchor === undefined ? '' : `#${anchor}`
  if (PAGES.includes(target) || target.startsWith('docs/api/')) return `/${placeOf(target)}${hash}`
  if (!existsSync(path.join(ROOT, target))) return href
  return repository === undefined ? undefined : `${repository}/blob/HEAD/${target}${hash}`
}

/** Gives each link its address on the site, and leaves the text alone of one that has none. */
function rewrite(tokens: Token[], page: string): Token[] {
  let isPlain = false
  return tokens.filter((token) => {
    if (token.type === 'link_open') {
      const href = linkOnSite(token.attrGet('href') ?? '', page, REPOSITORY)
      isPlain = href === undefined
      if (href !== undefined) token.attrSet('href', href)
      return !isPlain
    }
    const isEndOfPlain = token.type === 'link_close' && isPlain
    if (isEndOfPlain) isPlain = false
    return !isEndOfPlain
  })
}

/** Lets pages be written with links that work on GitHub: relative to their file, and to any file of the repository. */
export function repositoryLinks(md: MarkdownRenderer): void {
  md.core.ruler.after('inline', 'repository-links', ({ tokens, env }) => {
    const { path: place, realPath = place } = env as { path: string; realPath?: string }
    const page = path.relative(ROOT, realPath)
    for (const token of tokens) if (token.children !== null) token.children = rewrite(token.children, page)
  })
}
