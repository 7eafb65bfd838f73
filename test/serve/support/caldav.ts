import { inXml } from '../../../src/serve/tools/dav.js'
import type { Asked, Told } from '../../../src/testing/nextcloud/exchange.js'

/** The calendars of one account, as Nextcloud 32 tells them. */
export interface CalendarStandIn {
  /** Calendar → file → iCalendar. */
  readonly files: Map<string, Map<string, string>>
  readonly bodies: string[]
  readonly answer: (asked: Asked) => Told | undefined
}

const SPACES =
  'xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:cal="urn:ietf:params:xml:ns:caldav" xmlns:cs="http://calendarserver.org/ns/" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"'
const XML = { 'content-type': 'application/xml; charset=utf-8' }
const READ = '<d:privilege><d:read/></d:privilege><d:privilege><cal:read-free-busy/></d:privilege>'
const WRITE =
  '<d:privilege><d:write/></d:privilege><d:privilege><d:bind/></d:privilege><d:privilege><d:unbind/></d:privilege>'

const multistatus = (responses: readonly string[]): Told => ({
  status: 207,
  headers: XML,
  body: `<?xml version="1.0"?>\n<d:multistatus ${SPACES}>${responses.join('')}</d:multistatus>\n`,
})

const response = (href: string, properties: string, missing = ''): string =>
  `<d:response><d:href>${href}</d:href><d:propstat><d:prop>${properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>${
    missing === ''
      ? ''
      : `<d:propstat><d:prop>${missing}</d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>`
  }</d:response>`

const error = (status: number, exception: string, message: string): Told => ({
  status,
  headers: XML,
  body: `<?xml version="1.0" encoding="utf-8"?>\n<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">\n  <s:exception>Sabre\\DAV\\Exception\\${exception}</s:exception>\n  <s:message>${message}</s:message>\n</d:error>\n`,
})

export function calendarStandIn(uid: string): CalendarStandIn {
  const files = new Map([['personal', new Map<string, string>()]])
  const bodies: string[] = []
  const home = `/remote.php/dav/calendars/${encodeURIComponent(uid)}/`
  return {
    files,
    bodies,
    answer(asked) {
      if (!asked.path.startsWith('/remote.php/dav/calendars/')) return undefined
      if (!asked.headers.authorization?.startsWith('Bearer ')) return error(401, 'NotAuthenticated', '')
      const [calendar = '', file] = asked.path.slice(home.length).split('/').map(decodeURIComponent)
      bodies.push(asked.body)
      if (asked.method === 'PROPFIND' && calendar === '') return list(home)
      const events = files.get(calendar)
      if (events === undefined) return error(404, 'NotFound', `Node with name '${calendar}' could not be found`)
      if (asked.method === 'REPORT')
        return multistatus([...events].map(([name, text]) => event(`${home}${calendar}/${name}`, text)))
      if (asked.method !== 'PUT' || file === undefined) return error(501, 'NotImplemented', '')
      if (events.has(file)) return error(412, 'PreconditionFailed', 'An If-None-Match header was specified')
      if (!/^BEGIN:VEVENT\r$/m.test(asked.body)) return error(403, 'Forbidden', 'No VEVENT')
      events.set(file, asked.body)
      return { status: 201, headers: { 'oc-etag': '"1"', etag: '"1"' } }
    },
  }
}

/** The home, a calendar, the birthdays, which are read only, and the inbox, which is no calendar. */
function list(home: string): Told {
  const calendar = (id: string, name: string, privileges: string, kind = 'VEVENT') =>
    response(
      `${home}${id}/`,
      `<d:displayname>${name}</d:displayname><d:resourcetype><d:collection/><cal:calendar/></d:resourcetype><cal:supported-calendar-component-set><cal:comp name="${kind}"/></cal:supported-calendar-component-set><d:current-user-privilege-set>${privileges}</d:current-user-privilege-set>`,
    )
  return multistatus([
    response(home, '<d:resourcetype><d:collection/></d:resourcetype>', '<d:displayname/>'),
    calendar('personal', 'Personal &amp; more', WRITE + READ),
    calendar('tasks', 'Tasks', WRITE + READ, 'VTODO'),
    calendar('contact_birthdays', 'Contact birthdays', READ),
    response(
      `${home}inbox/`,
      '<d:resourcetype><d:collection/><cal:schedule-inbox/></d:resourcetype>',
      '<d:displayname/>',
    ),
  ])
}

const event = (href: string, text: string): string =>
  response(
    href,
    `<d:getetag>&quot;1&quot;</d:getetag><cal:calendar-data>${inXml(text).replaceAll('\r', '&#13;')}</cal:calendar-data>`,
  )

/** Answers DAV SEARCH by name, over these files. */
export function searchStandIn(uid: string, paths: readonly string[]): (asked: Asked) => Told | undefined {
  const home = `/remote.php/dav/files/${encodeURIComponent(uid)}`
  return ({ method, body }) => {
    if (method !== 'SEARCH') return undefined
    const [, pattern = ''] = /<d:literal>%([^<]*)%<\/d:literal>/.exec(body) ?? []
    if (!body.includes(`<d:href>/files/${encodeURIComponent(uid)}</d:href>`)) return error(400, 'BadRequest', '')
    const expression = new RegExp(
      pattern
        .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
        .replaceAll('%', '.*')
        .replaceAll('_', '.'),
      'i',
    )
    const found = paths.filter((path) => expression.test(path.split('/').at(-1) ?? ''))
    return multistatus(
      found.map((path) =>
        response(
          `${home}/${path
            .split('/')
            .map((name) => encodeURIComponent(name).replaceAll(/%../g, (e) => e.toLowerCase()))
            .join('/')}`,
          '<d:resourcetype/><d:getcontentlength>136</d:getcontentlength><d:getetag>&quot;e&quot;</d:getetag>',
        ),
      ),
    )
  }
}
