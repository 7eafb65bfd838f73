import { describe, expect, it, onTestFinished } from 'vitest'
import { sendPage, type Page } from '../../../src/connect/pages/document.js'
import { LANGUAGES, preferredLanguage, type Language } from '../../../src/connect/pages/languages.js'
import { createPages } from '../../../src/connect/pages/pages.js'
import { english, type Texts } from '../../../src/connect/pages/texts/en.js'
import { everyPage, plainWords } from '../../support/connect-pages.js'
import { listen } from '../../support/hosts.js'
import { everySignInPage } from '../../support/sign-in-pages.js'

const OTHERS = ['de', 'fr'] as const satisfies readonly Language[]

describe('the language of a page', () => {
  it.each<[header: string | undefined, language: Language]>([
    [undefined, 'en'],
    ['', 'en'],
    ['*', 'en'],
    ['de', 'de'],
    ['fr', 'fr'],
    ['en', 'en'],
    ['DE', 'de'],
    ['de-AT', 'de'],
    ['fr-CA,fr;q=0.9,en;q=0.8', 'fr'],
    ['de-Latn-DE-1996', 'de'],
    ['en-US,en;q=0.9,de;q=0.8', 'en'],
    ['en;q=0.8, de;q=0.9', 'de'],
    ['de,en', 'de'],
    ['en,de', 'en'],
    ['fr,de', 'fr'],
    ['es', 'en'],
    ['es, de;q=0.1', 'de'],
    ['deu', 'en'],
    ['de;q=0', 'en'],
    ['de;q=0, fr;q=0.001', 'fr'],
    ['en;q=0, de;q=0.2', 'de'],
    ['*;q=0.5, de', 'de'],
    ['de;q=0.5, *', 'en'],
    ['de;q=0.9, en;q=0.5, de-AT;q=0.1', 'de'],
    ['de;q=0.1, en;q=0.5, de-AT;q=0.9', 'de'],
    ['de;q=1.000 ,\tfr', 'de'],
    ['en;q=0.5, de ; q=0.7', 'de'],
    // Not the grammar of a range or a weight.
    ['de;q=2', 'en'],
    ['de;q=0.1234', 'en'],
    ['de;level=1', 'en'],
    ['de_DE', 'en'],
    ['-de', 'en'],
    [',,de,,', 'de'],
    ['__proto__, constructor', 'en'],
    [`de,${'x,'.repeat(100)}`, 'de'],
    [`de,${'x,'.repeat(1_000)}`, 'en'],
  ])('of %j is %s', (header, language) => {
    expect(preferredLanguage(header)).toBe(language)
  })

  it.each([...OTHERS, 'en'] as const)(
    'is that of the request that gets it, and stands in the document: %s',
    async (language) => {
      const page = createPages(plainWords).declined()
      const app = await listen((req, res) => sendPage(req, res, page))
      onTestFinished(app.close)
      const answer = await fetch(app.url, { headers: { 'Accept-Language': `${language}, en;q=0.5` } })
      const html = await answer.text()
      expect(html).toContain(`<html lang="${language}" dir="ltr">`)
      expect(html).toContain(`<h1>${LANGUAGES[language].declined.title}</h1>`)
      // No cache has to tell them apart.
      expect(answer.headers.get('Cache-Control')).toBe('no-store')
    },
  )
})

/** Stands for what goes into a text. */
const marker = (index: number) => ({
  html: `{${index}}`,
  toString: () => `{${index}}`,
  year: '{year}',
  time: '{time}',
})

/** Every text by its name, with marks where something goes in. */
function written(texts: object, before = ''): Map<string, string> {
  return new Map(
    Object.entries(texts).flatMap(([name, text]: [string, unknown]): [string, string][] => {
      const at = `${before}${name}`
      if (typeof text === 'string') return [[at, text]]
      const drawn: unknown =
        typeof text === 'function' ? (text as (...given: unknown[]) => unknown)(marker(0), marker(1), marker(2)) : text
      if (typeof drawn === 'string') return [[at, drawn]]
      const { html } = drawn as { html?: string }
      return html === undefined ? [...written(drawn as object, `${at}.`)] : [[at, html]]
    }),
  )
}

const marks = (text = ''): string[] => [...new Set(text.match(/\{\w+\}|<code>.*?<\/code>/g))].sort()

describe.each(OTHERS)('the texts in %s', (language) => {
  const texts = written(LANGUAGES[language])

  it('are not those in English', () => {
    const same = [...written(english)].filter(([name, text]) => texts.get(name) === text).map(([name]) => name)
    expect(same).toEqual(language === 'fr' ? ['minutes', 'moment'] : [])
  })

  it('have the names, the placeholders and the code of those in English', () => {
    const placed = (all: Map<string, string>) => [...all].map(([name, text]) => [name, marks(text)])
    expect(new Map(placed(texts) as [string, string[]][])).toEqual(
      new Map(placed(written(english)) as [string, string[]][]),
    )
  })

  it('have twelve months, and no English quotation mark at the beginning of a quotation', () => {
    expect(LANGUAGES[language].months.split(' ')).toHaveLength(12)
    for (const [name, text] of texts) expect(text, name).not.toMatch(/(?:^|\s)“|'/)
  })
})

it('a language with a text too few or too many does not compile', () => {
  const { yes, ...rest } = english
  // @ts-expect-error one is missing
  const fewer: Texts = { ...rest }
  // @ts-expect-error one is too many
  const more: Texts = { ...english, maybe: yes }
  expect([fewer, more]).toHaveLength(2)
})

type Translated = [name: string, page: Page, htmlIn: (language: Language) => string]

/** The pages that are there in several languages. */
function translated(): Translated[] {
  return [...everyPage(), ...everySignInPage()].flatMap(([name, page]): Translated[] =>
    page.htmlIn === undefined ? [] : [[name, page, page.htmlIn]],
  )
}

it('all pages are there in every language, except those of `serve`', () => {
  const names = new Set(translated().map(([name]) => name))
  const left = [...everyPage().keys(), ...everySignInPage().keys()].filter((name) => !names.has(name))
  expect(left).toEqual(['astray', 'notFound', 'landing', 'landing on this computer'])
})

/** What a page does: its forms and links. */
const deeds = (html: string): string[] => html.match(/<(?:form|input|button|a)\b[^>]*>/g) ?? []

describe.each(OTHERS)('every page in %s', (language) => {
  it.each(translated())('%s does what it does in English', (_name, page, htmlIn) => {
    expect(htmlIn('en')).toBe(page.html)
    const html = htmlIn(language)
    expect(html).toMatch(new RegExp(`^<!doctype html>\n<html lang="${language}" dir="ltr">`))
    const [, title = ''] = /<title>(.+)<\/title>/.exec(html) ?? []
    expect(html.match(/<h1>.*?<\/h1>/g)).toEqual([`<h1>${title}</h1>`])
    expect(deeds(html)).toEqual(deeds(page.html))
    expect(html).not.toContain('undefined')
  })

  const hostile = `<b x='1' y="2">&amp;</b>`
  const attack = {
    ...plainWords,
    serverName: hostile,
    nextcloudHost: hostile,
    clientName: hostile,
    clientHost: hostile,
    clientId: hostile,
    callsItself: `${hostile}.`,
    scopes: [hostile],
    formValue: hostile,
    error: 'a<b>c',
  }
  const connect = [...everyPage(attack)]
  it.each(connect)('%s keeps names from outside text', (name, page) => {
    const tags = (html: string) => html.match(/<\/?[a-z][^\s>]*/g)
    const plain = everyPage({ ...attack, ...inert(attack) }).get(name)
    expect(page.htmlIn?.(language)).not.toMatch(/<b[ >]/)
    expect(tags(page.htmlIn?.(language) ?? '')).toEqual(tags(plain?.htmlIn?.(language) ?? ''))
  })
})

/** The same words without a character that means something in HTML. */
function inert(words: typeof plainWords): Partial<typeof plainWords> {
  return Object.fromEntries(
    Object.entries(words)
      .filter(([, word]) => typeof word === 'string')
      .map(([name, word]) => [name, String(word).replace(/[<>"'&=; /]/g, '-')]),
  )
}

it.each([
  ['de', 'eine Sekunde', '1. Januar 2026, 12:00 Uhr UTC'],
  ['fr', 'une seconde', '1er janvier 2026, 12:00 UTC'],
] as const)('one second and the first of a month are said as they are in %s', (language, second, first) => {
  const { seconds, moment, months } = LANGUAGES[language]
  const [january = ''] = months.split(' ')

  expect([seconds(1), moment(1, january, { year: 2026, time: '12:00' })]).toEqual([second, first])
})
