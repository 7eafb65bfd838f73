import type { RecordedAnswer } from './recorded.js'

export interface ReceivedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly text: string
}

/** Characters to which recorded texts were cut, at least. */
const CUT = 290
/** Headers that stand for any value: they are compared by being there. */
const ANY = new Set(['etag', 'oc-etag', 'oc-fileid'])

/** Returns the recorded answer and the one that came, each without what differs from run to run. */
export function comparable(recorded: RecordedAnswer, came: ReceivedAnswer): [expected: object, actual: object] {
  const names = Object.keys(recorded.headers)
  const headers = Object.fromEntries(names.map((name) => [name, headerOf(came.headers[name], recorded.headers[name])]))
  const wanted = Object.fromEntries(
    Object.entries(recorded.headers).map(([name, value]) => [name, ANY.has(name) ? '*' : value]),
  )
  const [expectedBody, body] = bodies(recorded, came)
  return [
    { status: recorded.status, headers: wanted, body: expectedBody },
    { status: came.status, headers, body },
  ]
}

function headerOf(value: string | undefined, recorded = ''): string | undefined {
  if (value === undefined) return undefined
  if (recorded === '<etag>' || recorded === '<file id>') return '*'
  return fits(recorded, value) ? recorded : value
}

function bodies({ body: recorded, headers }: RecordedAnswer, { text }: ReceivedAnswer): [unknown, unknown] {
  if (typeof recorded !== 'string') return [recorded, masked(recorded, text === '' ? '' : JSON.parse(text))]
  const isPage = (headers['content-type'] ?? '').startsWith('text/html')
  const words = steady(isPage ? wordsOf(text) : text)
  const wanted = steady(recorded)
  return [wanted, wanted.length >= CUT && words.startsWith(wanted) ? wanted : words]
}

/** Returns a page as the recordings tell it: its title and its words. */
function wordsOf(html: string): string {
  const [, title] = /<title>(.*?)<\/title>/.exec(html) ?? []
  const text = html
    .replace(/<head\b.*<\/head>/s, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll('&quot;', '"')
    .replaceAll(/\s+/g, ' ')
    .trim()
  return [title && `title: ${title}`, text && `text: ${text}`].filter(Boolean).join(' | ')
}

/** Masks times and sizes that a text tells, and what a server was asked by. */
function steady(text: string): string {
  return text
    .replaceAll(/<(\w*[tT]imestamp|lastLogin|used|relative|d:quota-used-bytes)>[\d.]+</g, '<$1>0<')
    .replaceAll(/Request ID: \S+.*$/g, 'Request ID:')
    .trim()
}

/** Returns what came with the recorded value in each place where it is of the same shape and the value is not the point. */
function masked(recorded: unknown, came: unknown): unknown {
  if (typeof recorded === 'string')
    return typeof came === 'string' && fits(recorded, came)
      ? recorded
      : came === undefined
        ? came
        : recorded === '…'
          ? recorded
          : came
  if (typeof recorded === 'number') return typeof came === 'number' && isAny(recorded) ? recorded : came
  if (Array.isArray(recorded)) {
    if (!Array.isArray(came)) return came
    // Lists of notes are cut to one.
    const all = recorded.length === 1 && came.length > 1 && typeof recorded[0] === 'object' ? came.slice(0, 1) : came
    return all.map((item: unknown, at) => masked(recorded[at], item))
  }
  if (!isObject(recorded) || !isObject(came)) return came
  return Object.fromEntries(Object.entries(came).map(([name, value]) => [name, masked(recorded[name], value)]))
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** Times, ids and sizes stand for any number. */
const isAny = (recorded: number): boolean => recorded >= 1_000_000 || recorded === 101 || !Number.isInteger(recorded)

/** Whether a text fits a recorded one, whose placeholders stand for any, and whose numbers of notes do too. */
function fits(recorded: string, came: string): boolean {
  const literal = recorded.split(/<[^<>]+>/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  const pattern = literal.join('.+').replaceAll(/Recorded( \\\(\d+\\\))?/g, String.raw`Recorded( \(\d+\))?`)
  return new RegExp(`^${pattern}$`, 's').test(came)
}
