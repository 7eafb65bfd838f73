import * as options from '../options.js'
import type { Finding } from './check.js'

/**
 * The one who reads the report, and what there is to change: somebody with an app of their own and its options, or somebody who runs
 * `serve`.
 */
export interface Reader {
  /** The ways to give an option of `mcpAuth()`. Undefined: there are none. */
  readonly ways: (option: string) => string | undefined
  /** The arrow of a finding in place of its own; undefined: its own. `speaks`: all that its own names is there. */
  readonly fix: (finding: Finding, speaks: boolean) => string | undefined
  /** Returns a message of the configuration, which names options, with the reader's names for them. */
  readonly named: (message: string) => string
  /** The reason in place of one that names what is not there. */
  readonly found: (id: string) => string
  /** Whether there is an app with code of its own, and a command line. */
  readonly hasApp: boolean
}

/** Around words that are the reader's. A text of a server that has it gets no secret by it. */
const MARK = /\uE000([^\uE000]*)\uE000/g

/** Returns the ways to give an option, or else the options after it, in the words of whoever reads the report. */
export const waysToGive = (...given: readonly string[]): string => `\uE000${given.join(' ')}\uE000`

/** Returns words for a reader with an app, or a command line. */
export const forApp = (words: string): string => `\uE000=${words}\uE000`

export const WITH_AN_APP: Reader = {
  ways: options.waysToGive,
  fix: ({ fix }) => fix,
  named: (message) => message,
  found: () => '',
  hasApp: true,
}

/** Returns a finding in the words of its reader. */
export function worded(given: Finding, reader: Reader): Finding {
  const finding = given.id === 'config' ? inNames(given, reader) : given
  const fix = reader.fix(finding, speaksOf(finding.fix ?? '', reader))
  const found = speaksOf(finding.found, reader) ? finding.found : reader.found(given.id)
  return { ...finding, found: said(found, reader), ...(fix !== undefined && { fix: said(fix, reader) }) }
}

const inNames = ({ found, fix, ...finding }: Finding, { named }: Reader): Finding => ({
  ...finding,
  found: named(found),
  ...(fix !== undefined && { fix: named(fix) }),
})

const wordsOf = (mark: string, { ways, hasApp }: Reader): readonly string[] => {
  if (mark.startsWith('=')) return hasApp ? [mark.slice(1)] : []
  return mark.split(' ').flatMap((option) => ways(option) ?? [])
}

const speaksOf = (text: string, reader: Reader): boolean =>
  [...text.matchAll(MARK)].every(([, mark = '']) => wordsOf(mark, reader).length > 0)

const said = (text: string, reader: Reader): string =>
  text.replace(MARK, (_, mark: string) => {
    const [first = '', ...others] = wordsOf(mark, reader)
    return [first, ...others.map((other) => ` (or ${other})`)].join('')
  })
