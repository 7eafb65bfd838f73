import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'
import { describe, expect, it } from 'vitest'
import { headingAnchor } from '../../docs/.vitepress/heading-anchor.js'

const root = path.resolve(import.meta.dirname, '../..')
const pages = globSync(['*.md', 'docs/**/*.md', '!docs/api', 'examples/*/README.md', 'bench/*.md'], {
  cwd: root,
}).sort()

const read = (page: string): string => readFileSync(path.join(root, page), 'utf8')
const withoutCode = (text: string): string => text.replaceAll(/^( *)```.*?^\1```/gms, '')

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const counts = new Map<string, number>()
  const anchors = [...withoutCode(read(page)).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => {
    const words = heading.replaceAll(/\]\([^)]*\)|[`*[]/g, '')
    const slug = headingAnchor(words)
    const times = counts.get(slug) ?? 0
    counts.set(slug, times + 1)
    return times === 0 ? slug : `${slug}-${times}`
  })
  return new Set(anchors)
}

/** The links of a page that stay in this repository. */
function linksOf(page: string): string[] {
  const text = withoutCode(read(page)).replaceAll(/`[^`\n]*`/g, 'code')
  const inline = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
  const named = [...text.matchAll(/^\[[^\]]+\]: (\S+)/gm)].map(([, link = '']) => link)
  return [...inline, ...named].filter((link) => !/^\w+:/.test(link))
}

/** Whether there is a file or a folder, and in it the heading. */
function leadsSomewhere(page: string, link: string): boolean {
  const [file = '', anchor] = link.split('#')
  const target = file === '' ? page : path.join(path.dirname(page), file)
  if (!existsSync(path.join(root, target))) return false
  return anchor === undefined || (target.endsWith('.md') && anchorsOf(target).has(anchor))
}

describe('the links of', () => {
  it.each(pages)('%s lead to a file that is there, and to a heading in it', (page) => {
    expect(linksOf(page).filter((link) => !leadsSomewhere(page, link))).toEqual([])
  })

  it('pages are found, and anchors among them', () => {
    const links = pages.flatMap(linksOf)
    expect(pages).toContain('docs/README.md')
    expect(links.filter((link) => link.includes('#')).length).toBeGreaterThan(30)
    expect(links.length).toBeGreaterThan(200)
  })

  it('docs/README.md are to every page and every example', () => {
    const targets = new Set(linksOf('docs/README.md').map((link) => path.join('docs', link)))
    const all = [
      ...globSync('docs/*.md', { cwd: root }),
      ...globSync('examples/*', { cwd: root, onlyDirectories: true }),
    ]
    const missing = all.map((each) => each.replace(/\/$/, '')).filter((each) => !targets.has(each))
    expect(missing).toEqual(['docs/README.md'])
  })
})

it('messages and docstrings name no page that is not there', () => {
  const named = globSync('src/**/*.ts', { cwd: root }).flatMap((file) => read(file).match(/docs\/[\w-]+\.md/g) ?? [])
  expect(named.length).toBeGreaterThan(5)
  expect(named.filter((page) => !existsSync(path.join(root, page)))).toEqual([])
})
