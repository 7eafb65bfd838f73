import { german } from './texts/de.js'
import { english, type Texts } from './texts/en.js'
import { french } from './texts/fr.js'

/** The languages of the pages, by primary subtag (BCP 47). Another one is a file of texts and a line here. */
export const LANGUAGES = { en: english, de: german, fr: french } as const satisfies Readonly<Record<string, Texts>>

export type Language = keyof typeof LANGUAGES

/** Characters of an `Accept-Language` that is read. Browsers send less than 100. */
const LONGEST_HEADER = 500

/** A language range (RFC 4647 §2.1) with its weight (RFC 9110 §12.4.2). */
const RANGE = /^([a-z]{1,8}|\*)(?:-[a-z0-9]{1,8})*(?:[ \t]*;[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/

/**
 * Returns the language of the pages that an `Accept-Language` likes best (RFC 9110 §12.5.4), the first of several alike. `de-AT` asks
 * for German. English stands for `*`, for no header, for one that cannot be read, and for languages that are not there.
 */
export function preferredLanguage(header = ''): Language {
  if (header.length > LONGEST_HEADER) return 'en'
  const weights = new Map<Language, number>()
  for (const part of header.toLowerCase().split(',')) {
    const [, tag = '', weight = '1'] = RANGE.exec(part.trim()) ?? []
    const language = tag === '*' ? 'en' : tag
    if (isLanguage(language)) weights.set(language, Math.max(weights.get(language) ?? 0, Number(weight)))
  }
  const liked = [...weights].filter(([, weight]) => weight > 0).sort(([, one], [, other]) => other - one)
  return liked[0]?.[0] ?? 'en'
}

const isLanguage = (tag: string): tag is Language => Object.hasOwn(LANGUAGES, tag)
