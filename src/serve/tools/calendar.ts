import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { nextcloudPath } from '../../nextcloud/path-template.js'
import { isOneLine, leave, lines, oneLine, refused } from './answer.js'
import { askDav, childrenOf, hasChild, textOf, type Resource } from './dav.js'
import { MOST_REQUESTS_APART, eventsOf, type Asked, type CalendarRead } from './events.js'
import { writeEvent, type CalendarEvent } from './icalendar.js'
import { inTurns } from './in-turns.js'
import { tool, ToolFailure, type NextcloudOfTool, type Tool } from './tool.js'

/** Days of a range: recurring events are written out for each of them. */
const LONGEST_RANGE = 92
const MOST_CALENDARS = 30
const MOST_EVENTS = 200
const DAY = 86_400_000
/** iCalendar has the years 1 to 9999, and what ends on a day ends with the beginning of the next. */
const DATE = /^(?!0000|9999)\d{4}-\d\d-\d\d$/
const TIME = /^(?!0000|9999)\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)$/

const moment = z
  .string()
  .max(40)
  .refine(isMoment, 'must be a day (2026-12-01), or a time with its offset (2026-12-01T10:00:00+01:00)')
const calendar = z
  .string()
  .max(200)
  // One segment of a path.
  .regex(/^(?!\.{1,2}$)[^/[\]\p{Surrogate}]+$/u, 'must be the name in brackets that list_calendars tells')
  .refine(isOneLine, 'must be the name in brackets that list_calendars tells')
  .describe('The name in brackets that list_calendars tells')

export const calendarTools: readonly Tool[] = [
  tool({
    name: 'list_calendars',
    title: 'List calendars',
    description: 'List the user’s calendars in Nextcloud.',
    scopes: ['calendar:read'],
    readOnly: true,
    input: z.object({}),
    run: async (nextcloud) =>
      lines((await calendarsOf(nextcloud)).map(shownCalendar), MOST_CALENDARS, 'There are no calendars.'),
  }),
  tool({
    name: 'list_events',
    title: 'List events',
    description: `List the events of the user’s calendars in a range of at most ${LONGEST_RANGE} days. Recurring events are there once for each time. Times are told in UTC.`,
    scopes: ['calendar:read'],
    readOnly: true,
    input: z.object({
      from: moment.describe('First day, or a time with its offset'),
      to: moment.describe('Last day, which is part of the range, or a time with its offset, which ends it'),
      calendar: calendar.optional().describe('One calendar, by the name in brackets; all of them without it'),
    }),
    run: listEvents,
  }),
  tool({
    name: 'add_event',
    title: 'Add an event',
    description:
      'Add an event to one of the user’s calendars. It does not recur, invites nobody and has no reminder. Start and end are both days, or both times with their offset from UTC.',
    scopes: ['calendar:read', 'calendar:write'],
    readOnly: false,
    input: z.object({
      calendar,
      title: z.string().min(1).max(500),
      start: moment,
      end: moment.optional().describe('Last day, or time of the end. Without it: one day, or one hour'),
      location: z.string().max(500).default(''),
      description: z.string().max(10_000).default(''),
    }),
    run: addEvent,
  }),
]

function isMoment(text: string): boolean {
  const time = Date.parse(text)
  if (Number.isNaN(time)) return false
  // Date.parse takes the 31st of February for the 3rd of March.
  return (DATE.test(text) || TIME.test(text)) && isDay(text.slice(0, 10))
}

const isDay = (day: string): boolean => new Date(`${day}T00:00:00Z`).toISOString().startsWith(day)

interface Calendar {
  /** Its name in addresses. */
  readonly id: string
  readonly name: string
  readonly writable: boolean
}

/** Undefined: no tool would take its name in addresses. */
const shownCalendar = (one: Calendar): string | undefined =>
  isTaken(one) ? `${namesOf(one)}${one.writable ? '' : ', to read only'}` : undefined

const isTaken = ({ id }: Pick<Calendar, 'id'>): boolean => calendar.safeParse(id).success

const namesOf = ({ id, name }: Pick<Calendar, 'id' | 'name'>): string =>
  isTaken({ id }) ? `${oneLine(name, 200)} [${id}]` : oneLine(name, 200)

const LIST =
  '<d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:displayname/><d:resourcetype/><c:supported-calendar-component-set/><d:current-user-privilege-set/></d:prop></d:propfind>'

async function calendarsOf(nextcloud: NextcloudOfTool): Promise<readonly Calendar[]> {
  const { id } = await nextcloud.user()
  const path = nextcloudPath`/remote.php/dav/calendars/${id}/`
  const { answer, resources } = await askDav(nextcloud, { method: 'PROPFIND', path, depth: '1', body: LIST })
  if (resources === undefined) throw await refused(answer, {}, 'the calendars')
  return resources.filter(hasEvents).map((resource) => {
    const calendarId = resource.names.join('/')
    return { id: calendarId, name: textOf(resource, 'displayname') || calendarId, writable: mayAdd(resource) }
  })
}

function hasEvents({ names, properties }: Resource): boolean {
  const kinds = properties.get('supported-calendar-component-set')
  return (
    names.length === 1 &&
    hasChild(properties.get('resourcetype'), 'calendar') &&
    (kinds === undefined || childrenOf(kinds, 'comp').some(({ attributes }) => /["']VEVENT["']/i.test(attributes)))
  )
}

/** `bind` lets people add a member (RFC 3744 §3.9). */
const mayAdd = ({ properties }: Resource): boolean =>
  properties.get('current-user-privilege-set')?.children.some((privilege) => hasChild(privilege, 'bind')) === true

async function listEvents(
  nextcloud: NextcloudOfTool,
  range: { readonly from: string; readonly to: string; readonly calendar?: string | undefined },
): Promise<string> {
  const from = new Date(range.from)
  const to = new Date(DATE.test(range.to) ? Date.parse(range.to) + DAY : Date.parse(range.to))
  if (to <= from) throw new ToolFailure('The range must end after its start.')
  if (to.getTime() - from.getTime() > LONGEST_RANGE * DAY)
    throw new ToolFailure(`A range is at most ${LONGEST_RANGE} days.`)
  const calendars = await calendarsOf(nextcloud)
  const asked = range.calendar === undefined ? calendars : calendars.filter(({ id }) => id === range.calendar)
  if (range.calendar !== undefined && asked.length === 0) throw noCalendar(range.calendar)
  const { read, failures } = await readCalendars(nextcloud, asked.slice(0, MOST_CALENDARS), { from, to })
  // Others may have written into any of the calendars, and send invitations that recur without an end: none of these fills the list alone.
  const chosen = inTurns(
    read.map(({ one, resources }) => inTurns(resources.map(sorted).toSorted(byFirst)).map(shownIn(one))),
  )
  const shown = [...chosen.slice(0, MOST_EVENTS).toSorted(byStart), ...chosen.slice(MOST_EVENTS)]
  return [
    lines(shown.map(shownEvent), MOST_EVENTS, 'There are no events.'),
    ...read
      .filter(({ unread }) => unread > 0)
      .map(({ one, unread }) => `${shownLeftOut(unread)} of the calendar ${namesOf(one)}.`),
    ...failures,
    ...(asked.length > MOST_CALENDARS
      ? [`Only ${MOST_CALENDARS} of the ${asked.length} calendars are read: name one to read it.`]
      : []),
  ].join('\n')
}

interface ReadCalendar extends CalendarRead {
  readonly one: Calendar
}

/** @throws {ToolFailure} none of them can be read */
async function readCalendars(
  nextcloud: NextcloudOfTool,
  calendars: readonly Calendar[],
  asked: Asked,
): Promise<{ readonly read: readonly ReadCalendar[]; readonly failures: readonly string[] }> {
  const failures: string[] = []
  const attempt = async <T>(one: Calendar, work: Promise<T>): Promise<T | undefined> =>
    work.catch((error: unknown) => {
      // Anybody can share a calendar that Nextcloud cannot read: the others go on.
      if (!(error instanceof ToolFailure) || calendars.length === 1) throw error
      failures.push(`The calendar ${namesOf(one)} is left out: ${error.message}`)
      return undefined
    })
  const first = []
  for (const one of calendars) first.push({ one, found: await attempt(one, eventsOf(nextcloud, one.id, asked)) })
  const broken = first.filter(({ found }) => typeof found === 'function').length
  const read: ReadCalendar[] = []
  for (const { one, found } of first) {
    const events =
      typeof found === 'function' ? await attempt(one, found(Math.ceil(MOST_REQUESTS_APART / broken))) : found
    if (events !== undefined) read.push({ one, ...events })
  }
  if (failures.length > 0 && read.length === 0) throw new ToolFailure(failures.join('\n'))
  return { read, failures }
}

interface ShownEvent extends CalendarEvent {
  readonly calendar: string
}

const shownIn =
  ({ name }: Calendar) =>
  (event: CalendarEvent): ShownEvent => ({ ...event, calendar: name })

const byStart = (a: CalendarEvent, b: CalendarEvent): number => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0)

const sorted = (events: readonly CalendarEvent[]): readonly CalendarEvent[] => events.toSorted(byStart)

const byFirst = ([a]: readonly CalendarEvent[], [b]: readonly CalendarEvent[]): number =>
  a === undefined || b === undefined ? 0 : byStart(a, b)

const shownLeftOut = (count: number): string =>
  count === 1 ? 'One event, which cannot be read, is left out' : `${count} events, which cannot be read, are left out`

const noCalendar = (calendar: string): ToolFailure =>
  new ToolFailure(`There is no calendar ${calendar}: list_calendars tells their names, in brackets.`)

function shownEvent({ title, start, end, location, description, calendar }: ShownEvent) {
  const where = location === '' ? '' : `; where: ${oneLine(location, 200)}`
  const about = description === '' ? '' : `; about: ${oneLine(description, 300)}`
  return `${shownTime(start, end)}  ${oneLine(title, 200) || 'Without a title'}  (${oneLine(calendar, 100)}${where}${about})`
}

function shownTime(start: string, end: string | undefined): string {
  if (!start.includes('T')) {
    // The end of a day is the next day in iCalendar.
    const last =
      end === undefined
        ? start
        : new Date(Math.max(Date.parse(end) - DAY, Date.parse(start))).toISOString().slice(0, 10)
    return last === start ? `${start}, all day` : `${start} to ${last}, all day`
  }
  const zone = start.endsWith('Z') ? ' UTC' : ' in a time zone of its own'
  const until =
    end === undefined
      ? ''
      : end.slice(0, 10) === start.slice(0, 10)
        ? clockOf(end)
        : `${end.slice(0, 10)} ${clockOf(end)}`
  return `${start.slice(0, 10)} ${clockOf(start)}${until === '' ? '' : ` to ${until}`}${zone}`
}

const clockOf = (time: string): string => time.slice(11, 16)

async function addEvent(
  nextcloud: NextcloudOfTool,
  given: {
    readonly calendar: string
    readonly title: string
    readonly start: string
    readonly end?: string | undefined
    readonly location: string
    readonly description: string
  },
): Promise<string> {
  const { calendar, title, location, description } = given
  const { start, end } = spanOf(given.start, given.end)
  const uid = randomUUID()
  const { id } = await nextcloud.user()
  const answer = await nextcloud.fetch(nextcloudPath`/remote.php/dav/calendars/${id}/${calendar}/${`${uid}.ics`}`, {
    method: 'PUT',
    headers: { 'content-type': 'text/calendar; charset=utf-8', 'if-none-match': '*' },
    body: writeEvent({ title, start, end, location, description }, { uid, now: new Date() }),
  })
  if (answer.status === 404) {
    await leave(answer)
    throw noCalendar(calendar)
  }
  if (!answer.ok) throw await refused(answer, { 403: `The user cannot add events to ${calendar} (403).` }, 'the event')
  await leave(answer)
  return `Added ${oneLine(title, 200)}: ${shownTime(start, end)}.`
}

/** @throws {ToolFailure} the one is a day and the other a time, or the end is not after the start */
function spanOf(start: string, end: string | undefined): { readonly start: string; readonly end: string } {
  const isDays = DATE.test(start)
  if (end !== undefined && DATE.test(end) !== isDays)
    throw new ToolFailure('Start and end must both be days, or both times.')
  const from = Date.parse(start)
  const until = end === undefined ? from + (isDays ? DAY : 3_600_000) : Date.parse(end) + (isDays ? DAY : 0)
  if (until <= from) throw new ToolFailure('The event must end after its start.')
  const shown = (time: number) => new Date(time).toISOString().slice(0, isDays ? 10 : undefined)
  return { start: shown(from), end: shown(until) }
}
