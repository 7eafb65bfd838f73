/** An event, as far as the tools tell of it. */
export interface CalendarEvent {
  readonly title: string
  /** A day (`2026-12-01`), or a time in UTC (`2026-12-01T09:00:00.000Z`). */
  readonly start: string
  /** The same, and not part of the event. Undefined: it has no length. */
  readonly end: string | undefined
  readonly location: string
  readonly description: string
}

/** The events of a text. */
export interface EventsRead {
  readonly events: readonly CalendarEvent[]
  /** Number of those that have no start, or one on a day that there is not: anybody can invite people to such an event. */
  readonly unread: number
}

interface ContentLine {
  readonly name: string
  readonly parameters: string
  readonly value: string
}

/** Octets of a line, without its end (RFC 5545 §3.1). */
const LONGEST_LINE = 75

/**
 * Reads the events of a calendar whose recurring events are expanded, and whose times are in UTC, as the server answers to `expand`
 * (RFC 4791 §9.6.5). Of other times it tells the digits, because it knows no time zones.
 */
export function readEvents(text: string): EventsRead {
  const events: CalendarEvent[] = []
  let unread = 0
  /** The components that are open, and the properties of the event. */
  const open: string[] = []
  let properties = new Map<string, ContentLine>()
  for (const line of unfolded(text).split('\n')) {
    const read = contentLine(line)
    if (read?.name === 'BEGIN') {
      open.push(read.value.toUpperCase())
      if (open.at(-1) === 'VEVENT') properties = new Map()
    } else if (read?.name === 'END') {
      if (open.pop() !== 'VEVENT') continue
      const event = eventOf(properties)
      if (event === undefined) unread += 1
      else events.push(event)
      // An alarm within the event has a description of its own.
    } else if (read !== undefined && open.at(-1) === 'VEVENT' && !properties.has(read.name)) {
      properties.set(read.name, read)
    }
  }
  return { events, unread }
}

const unfolded = (text: string): string => text.replace(/\r\n?/g, '\n').replace(/\n[ \t]/g, '')

function contentLine(line: string): ContentLine | undefined {
  const end = /[;:]/.exec(line)?.index
  if (end === undefined) return undefined
  // A colon within quotes is part of a parameter.
  let quoted = false
  let colon = end
  for (; colon < line.length && (quoted || line[colon] !== ':'); colon += 1) if (line[colon] === '"') quoted = !quoted
  return { name: line.slice(0, end).toUpperCase(), parameters: line.slice(end, colon), value: line.slice(colon + 1) }
}

/** Undefined: it has no start that there is. */
function eventOf(properties: ReadonlyMap<string, ContentLine>): CalendarEvent | undefined {
  const start = timeOf(properties.get('DTSTART'))
  if (start === undefined) return undefined
  const text = (name: string) => unescaped(properties.get(name)?.value ?? '')
  const end = timeOf(properties.get('DTEND')) ?? endAfter(start, properties.get('DURATION')?.value)
  return {
    title: text('SUMMARY'),
    start,
    // RFC 5545 §3.6.1: a day ends with a day, and a time with a time.
    end: end?.length === start.length ? end : undefined,
    location: text('LOCATION'),
    description: text('DESCRIPTION'),
  }
}

/** Undefined: it is not a day or a time that there is, in the years 1 to 9999. */
function timeOf(line: ContentLine | undefined): string | undefined {
  const [, day, time, zone = ''] = /^(?!0000)(\d{8})(?:T(\d{6})(Z?))?$/.exec(line?.value ?? '') ?? []
  if (day === undefined) return undefined
  const date = `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`
  if (time === undefined) return isReal(`${date}T00:00:00.000Z`) ? date : undefined
  // RFC 5545 §3.3.12: a leap second counts as the one before.
  const seconds = time.endsWith('60') ? '59' : time.slice(4)
  const moment = `${date}T${time.slice(0, 2)}:${time.slice(2, 4)}:${seconds}.000`
  return isReal(`${moment}Z`) ? moment + zone : undefined
}

/** `Date.parse` takes the 31st of February for the 3rd of March, and 24:00 for the next day. */
function isReal(moment: string): boolean {
  const time = Date.parse(moment)
  return !Number.isNaN(time) && new Date(time).toISOString() === moment
}

/** RFC 5545 §3.3.6, without negative ones, which no event has. Undefined: there is none, or it ends after the year 9999. */
function endAfter(start: string, duration: string | undefined): string | undefined {
  const parts = /^\+?P(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?$/.exec(
    duration ?? '',
  )
  if (parts === null) return undefined
  // A time without a zone is counted as if it were in UTC, wherever this server is.
  const isTime = start.includes('T')
  const from = Date.parse(isTime && !start.endsWith('Z') ? `${start}Z` : start)
  const [weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = parts
    .slice(1)
    .map((part: string | undefined) => Number(part ?? 0))
  const end = new Date(from + ((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000).toISOString()
  return end.startsWith('+') ? undefined : end.slice(0, start.length)
}

const unescaped = (text: string): string =>
  text.replace(/\\([\\;,nN])/g, (_, character: string) => (/n/i.test(character) ? '\n' : character))

/** RFC 5545 §3.3.11. Other control characters are not for a text, and dropped. */
const escaped = (text: string): string =>
  text
    .replace(/\r\n?/g, '\n')
    .replace(/[^\P{Cc}\n\t]/gu, '')
    .replace(/[\\;,]/g, '\\$&')
    .replace(/\n/g, '\\n')

/** Writes a calendar with one event, which does not recur, and invites nobody. */
export function writeEvent(
  { title, start, end, location, description }: CalendarEvent,
  { uid, now }: { readonly uid: string; readonly now: Date },
): string {
  const content = [
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'PRODID:-//mcp-nextcloud-auth//serve//EN',
    'CALSCALE:GREGORIAN',
    'BEGIN:VEVENT',
    `UID:${uid}`,
    `DTSTAMP:${written(now.toISOString())}`,
    `DTSTART${timeProperty(start)}`,
    ...(end === undefined ? [] : [`DTEND${timeProperty(end)}`]),
    `SUMMARY:${escaped(title)}`,
    ...(location === '' ? [] : [`LOCATION:${escaped(location)}`]),
    ...(description === '' ? [] : [`DESCRIPTION:${escaped(description)}`]),
    'END:VEVENT',
    'END:VCALENDAR',
  ]
  return content.map((line) => `${folded(line)}\r\n`).join('')
}

const timeProperty = (time: string): string =>
  time.includes('T') ? `:${written(time)}` : `;VALUE=DATE:${written(time)}`

const written = (time: string): string => time.replace(/\.\d+|[-:]/g, '')

/** Breaks a line so that no part is longer than 75 octets, and no character is in two parts. */
function folded(line: string): string {
  const parts: string[] = []
  let part = ''
  let size = 0
  for (const character of line) {
    const octets = Buffer.byteLength(character)
    if (size + octets > LONGEST_LINE) {
      parts.push(part)
      part = ' '
      size = 1
    }
    part += character
    size += octets
  }
  return [...parts, part].join('\r\n')
}
