import { writeDocument, type Page, type Tone } from './document.js'
import { LANGUAGES, type Language } from './languages.js'
import { markup, shownHost, shownName, type Markup } from './markup.js'
import { LONGEST } from './shown.js'
import type { Texts } from './texts/en.js'

/** The names on every page. */
export interface PageNames {
  /** Name of this MCP server. */
  readonly serverName: string
  /** Host of the Nextcloud that users connect. */
  readonly nextcloudHost: string
}

/** The parts that every page shares, in one language. */
export interface Frame {
  readonly texts: Texts
  readonly server: Markup
  readonly nextcloud: Markup
  /** Returns the tag of the template that holds the content of a page. */
  readonly page: (status: number, title: string, tone: Tone) => (...content: Parameters<typeof markup>) => Page
}

export function createFrame({ serverName, nextcloudHost }: PageNames, texts: Texts): Frame {
  const server = shownName(serverName, LONGEST, texts.thisServer)
  return {
    texts,
    server,
    nextcloud: shownHost(nextcloudHost),
    page:
      (status, title, tone) =>
      (...content) => ({ status, html: writeDocument(texts, { title, tone, server, content: markup(...content) }) }),
  }
}

/** Returns what makes of a drawing of a page a function whose page is there in every language. */
export function inEveryLanguage<F>(frameIn: (texts: Texts) => F) {
  const frames = Object.fromEntries(
    Object.entries(LANGUAGES).map(([language, texts]) => [language, frameIn(texts)]),
  ) as Record<Language, F>
  return <Given extends readonly unknown[]>(draw: (frame: F, ...given: Given) => Page) =>
    (...given: Given): Page => ({
      ...draw(frames.en, ...given),
      htmlIn: (language) => draw(frames[language], ...given).html,
    })
}
