import { ifError } from '../../errors/if-error.js'
import { nextcloudPath } from '../../nextcloud/path-template.js'
import { oneLine, refused } from './answer.js'
import { askDav, inXml, textOf, type Resource } from './dav.js'
import { readEvents, type CalendarEvent, type EventsRead } from './icalendar.js'
import { ToolFailure, type NextcloudOfTool } from './tool.js'

/** Requests of one call for events apart: one bad event among 128 is found with 15. */
export const MOST_REQUESTS_APART = 32

/** The time that events are asked for. */
export interface Asked {
  readonly from: Date
  readonly to: Date
}

/** The events of a calendar, those of one resource in one list: a recurring event is one, however often it recurs. */
export interface CalendarRead {
  readonly resources: readonly (readonly CalendarEvent[])[]
  /** As of {@link EventsRead}. */
  readonly unread: number
}

/** Reads the events apart, of a calendar that cannot be read as a whole, with at most so many requests. */
type ReadApart = (most: number) => Promise<CalendarRead>

interface Calendar {
  readonly nextcloud: NextcloudOfTool
  readonly id: string
  readonly path: string
}

/**
 * Reads the events of a calendar in a range of time, recurring ones once for each time. Anybody can invite the user to an event for which
 * Nextcloud 32 answers 500 to a question about all of them (`RRULE:FREQ=SECONDLY`), or to one that is too large. It costs itself alone:
 * the others are asked for in ever smaller parts.
 *
 * @returns the events, or a function that asks for them apart
 * @throws {ToolFailure} the calendar cannot be read
 */
export async function eventsOf(
  nextcloud: NextcloudOfTool,
  id: string,
  asked: Asked,
): Promise<CalendarRead | ReadApart> {
  const user = await nextcloud.user()
  const calendar = { nextcloud, id, path: nextcloudPath`/remote.php/dav/calendars/${user.id}/${id}/` }
  const all = await ask(calendar, query(asked, expanded(asked)))
  if (!(all instanceof ToolFailure)) return eventsIn(all)
  const names = await ask(calendar, query(asked, '<d:getetag/>')).catch(ifError(ToolFailure, () => all))
  if (names instanceof ToolFailure) throw all
  const hrefs = names.map(({ href }) => href)
  return (most) => inParts(calendar, { ...asked, apart: { left: most } }, hrefs)
}

async function inParts(
  calendar: Calendar,
  asked: Asked & { readonly apart: { left: number } },
  hrefs: readonly string[],
): Promise<CalendarRead> {
  const { apart } = asked
  if (apart.left === 0) return { resources: [], unread: hrefs.length }
  apart.left -= 1
  const found = await ask(calendar, multiget(hrefs, expanded(asked)))
  if (!(found instanceof ToolFailure)) return eventsIn(found)
  if (hrefs.length <= 1) return { resources: [], unread: hrefs.length }
  const middle = Math.ceil(hrefs.length / 2)
  const first = await inParts(calendar, asked, hrefs.slice(0, middle))
  const second = await inParts(calendar, asked, hrefs.slice(middle))
  return { resources: [...first.resources, ...second.resources], unread: first.unread + second.unread }
}

/**
 * Returns the failure that one event can be the reason for.
 *
 * @throws {ToolFailure} it cannot
 */
async function ask({ nextcloud, id, path }: Calendar, body: string): Promise<readonly Resource[] | ToolFailure> {
  const request = { method: 'REPORT', path, depth: '1', body } as const
  const asked = await askDav(nextcloud, request).catch(ifError(ToolFailure, (failure) => failure))
  if (asked instanceof ToolFailure) return asked
  const { answer, resources } = asked
  if (resources !== undefined) return resources
  const name = oneLine(id, 200)
  const failure = await refused(answer, { 404: `There is no calendar ${name} (404).` }, name)
  if (answer.status === 500) return failure
  throw failure
}

function eventsIn(found: readonly Resource[]): CalendarRead {
  const read: readonly EventsRead[] = found.map((resource) => readEvents(textOf(resource, 'calendar-data') ?? ''))
  return { resources: read.map(({ events }) => events), unread: read.reduce((sum, { unread }) => sum + unread, 0) }
}

const SPACES = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"'

const query = (asked: Asked, properties: string): string =>
  `<c:calendar-query ${SPACES}><d:prop>${properties}</d:prop>
<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:time-range ${rangeOf(asked)}/></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>`

const multiget = (hrefs: readonly string[], properties: string): string =>
  `<c:calendar-multiget ${SPACES}><d:prop>${properties}</d:prop>${hrefs.map((href) => `<d:href>${inXml(href)}</d:href>`).join('')}</c:calendar-multiget>`

/** RFC 4791 §9.6.5: recurring events come written out, with times in UTC. */
const expanded = (asked: Asked): string => `<c:calendar-data><c:expand ${rangeOf(asked)}/></c:calendar-data>`

const rangeOf = ({ from, to }: Asked): string => `start="${basic(from)}" end="${basic(to)}"`

/** RFC 5545 §3.3.5, form 2. */
const basic = (time: Date): string => time.toISOString().replace(/\.\d+|[-:]/g, '')
