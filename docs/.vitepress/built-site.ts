import { readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'

const decoded = (text: string): string => decodeURIComponent(text.replaceAll('&amp;', '&').replaceAll('&#39;', "'"))

/** What a browser would load from elsewhere by itself: a script, a style sheet, a picture, a font. */
const FROM_ELSEWHERE =
  /<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)="(?:https?:)?\/\/[^"]*"|(?:url\(|@import )["']?(?:https?:)?\/\/[^)"']*/g

/** Finds links of the built pages to a page or a heading that is not there, and whatever would be loaded from elsewhere. */
export function faultsOf(folder: string): string[] {
  const read = (file: string): string => readFileSync(path.join(folder, file), 'utf8')
  const pages = new Map(globSync('**/*.html', { cwd: folder }).map((file) => [`/${file}`, read(file)]))
  const anchors = new Map(
    [...pages].map(([page, html]) => [
      page,
      new Set([...html.matchAll(/\bid="([^"]*)"/g)].map(([, id = '']) => decoded(id))),
    ]),
  )
  const leadsNowhere = (page: string, link: string): boolean => {
    const { pathname, hash } = new URL(link, `http://site${page}`)
    const target = pathname.endsWith('/') ? `${pathname}index.html` : pathname
    if (!target.endsWith('.html')) return false
    return !(hash === '' ? anchors.has(target) : anchors.get(target)?.has(decodeURIComponent(hash.slice(1))))
  }
  const links = [...pages].flatMap(([page, html]) =>
    [...html.matchAll(/<a\b[^>]*?\bhref="([^"]*)"/g)]
      .map(([, link = '']) => decoded(link))
      .filter((link) => !/^\w+:/.test(link) && leadsNowhere(page, link))
      .map((link) => `${page}: ${link} leads nowhere`),
  )
  const loaded = globSync('**/*.{html,css}', { cwd: folder }).flatMap((file) =>
    (read(file).match(FROM_ELSEWHERE) ?? []).map((found) => `${file}: ${found} is from elsewhere`),
  )
  return [...links, ...loaded]
}
