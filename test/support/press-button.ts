import { attributesOf, wordsOf } from './html.js'
import type { PageSeen, Visitor } from './nextcloud/visitor.js'

/** Presses the button of a page whose words are these, or the one beside a title. */
export function press(browser: Visitor, { html, url }: PageSeen, name: string, beside = ''): Promise<PageSeen> {
  const part = html.slice(Math.max(0, html.indexOf(beside)))
  for (const [, form = '', inside = ''] of part.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)) {
    const button = /<button\b([^>]*)>([^<]*)<\/button>/.exec(inside)
    if (button?.[2] !== name) continue
    const wish = attributesOf(button[1] ?? '')['value'] ?? ''
    const token = /name="token" value="([^"]+)"/.exec(inside)?.[1] ?? ''
    return browser.submit(new URL(attributesOf(form)['action'] ?? '', url), { token, do: wish })
  }
  throw new Error(`There is no button ${name}: ${wordsOf(html)}`)
}
