import { expect, it } from 'vitest'
import { ToolFailure } from '../../../src/serve/tools/tool.js'
import { multistatus, nextcloud } from '../support/tool-nextcloud.js'

const CALENDAR = '<d:resourcetype><d:collection/><c:calendar xmlns:c="urn:ietf:params:xml:ns:caldav"/></d:resourcetype>'
const kinds = (...names: readonly string[]) =>
  `<supported-calendar-component-set>${names.map((name) => `<comp name="${name}"/>`).join('')}</supported-calendar-component-set>`
const privileges = (...names: readonly string[]) =>
  `<d:current-user-privilege-set>${names.map((name) => `<d:privilege><d:${name}/></d:privilege>`).join('')}</d:current-user-privilege-set>`
const named = (name: string) => `<d:displayname>${name}</d:displayname>${CALENDAR}`

const at = (path: string) => `/remote.php/dav/calendars/anna%20b/${path}`
const HOME = multistatus([at('home/'), named('Home')])
const events = (...lists: readonly (readonly string[])[]) =>
  multistatus(
    ...lists.map((lines, index): [string, string] => [
      at(`home/${index}.ics`),
      `<calendar-data>BEGIN:VCALENDAR\nBEGIN:VEVENT\n${lines.join('\n')}\nEND:VEVENT\nEND:VCALENDAR</calendar-data>`,
    ]),
  )
const RANGE = { from: '2026-12-01', to: '2026-12-05' }

it('lists the calendars that hold events, each by a name, and tells those that can only be read', async () => {
  const { call } = nextcloud(
    multistatus(
      [at(''), '<d:resourcetype><d:collection/></d:resourcetype>'],
      [at('home/'), `${named('Home')}${kinds('VTODO', 'VEVENT')}${privileges('read', 'bind')}`],
      [at('shared/'), `${named('Theirs')}${privileges('read')}`],
      [at('nameless/'), CALENDAR],
      [at('empty/'), named('')],
      [at('tasks/'), `${named('Tasks')}${kinds('VTODO')}`],
      [at('inbox/'), '<d:resourcetype><d:collection/></d:resourcetype>'],
      [at('home/event.ics'), named('an event')],
    ),
  )
  expect(await call('list_calendars')).toBe(
    [
      'Home [home]',
      'Theirs [shared], to read only',
      'nameless [nameless], to read only',
      'empty [empty], to read only',
    ].join('\n'),
  )
})

const MISLEADING = ['x%5D%20%5Bhome', 'x%0Ay', 'x%E2%80%A8y', 'x%E2%80%AEy', 'x'.repeat(201)]

it.each(MISLEADING)('lists no calendar by a name that no tool takes: %s', async (id) => {
  const list = multistatus([at(`${id}/`), named('T')], [at('home/'), named('Home')])
  const { call, requests } = nextcloud(list)

  expect(await call('list_calendars')).toBe('Home [home], to read only\n… and 1 more, whose names cannot be shown.')
  await expect(call('list_events', { ...RANGE, calendar: decodeURIComponent(id) })).rejects.toThrow()
  expect(requests).toHaveLength(1)
})

it.each(MISLEADING)('lists the events of a calendar by its title where no tool takes its name: %s', async (id) => {
  const list = multistatus([at(`${id}/`), named('T')], [at('home/'), named('Home')])
  const { call } = nextcloud(list, { status: 500 }, { status: 403 }, multistatus())
  const [first, second, ...more] = (await call('list_events', RANGE)).split('\n')

  expect(first).toBe('There are no events.')
  expect(second).toMatch(/^The calendar T is left out: Nextcloud answered 500 for x[^\u2028\u202E]*\.$/)
  expect(more).toEqual([])
})

it('says so where there are no calendars', async () => {
  expect(await nextcloud(multistatus()).call('list_calendars')).toBe('There are no calendars.')
})

it.each([
  ['a day', ['DTSTART;VALUE=DATE:20261201', 'SUMMARY:x'], '2026-12-01, all day  x  (Home)'],
  [
    'a day whose end is the next',
    ['DTSTART;VALUE=DATE:20261201', 'DTEND;VALUE=DATE:20261202', 'SUMMARY:x'],
    '2026-12-01, all day  x  (Home)',
  ],
  [
    'a day whose end is that very day',
    ['DTSTART;VALUE=DATE:20261201', 'DTEND;VALUE=DATE:20261201', 'SUMMARY:x'],
    '2026-12-01, all day  x  (Home)',
  ],
  [
    'days',
    ['DTSTART;VALUE=DATE:20261201', 'DTEND;VALUE=DATE:20261204', 'SUMMARY:x'],
    '2026-12-01 to 2026-12-03, all day  x  (Home)',
  ],
  ['a time without an end', ['DTSTART:20261201T090000Z', 'SUMMARY:x'], '2026-12-01 09:00 UTC  x  (Home)'],
  [
    'an hour',
    ['DTSTART:20261201T090000Z', 'DTEND:20261201T100000Z', 'SUMMARY:x'],
    '2026-12-01 09:00 to 10:00 UTC  x  (Home)',
  ],
  [
    'a night',
    ['DTSTART:20261201T220000Z', 'DTEND:20261202T060000Z', 'SUMMARY:x'],
    '2026-12-01 22:00 to 2026-12-02 06:00 UTC  x  (Home)',
  ],
  [
    'a time whose zone is not known',
    ['DTSTART;TZID=Mars:20261201T090000', 'SUMMARY:x'],
    '2026-12-01 09:00 in a time zone of its own  x  (Home)',
  ],
  [
    'a place and a description, and no title',
    ['DTSTART;VALUE=DATE:20261201', 'LOCATION:Bonn', 'DESCRIPTION:a\\nb'],
    '2026-12-01, all day  Without a title  (Home; where: Bonn; about: a b)',
  ],
])('shows an event of %s', async (_, lines, text) => {
  expect(await nextcloud(HOME, events(lines)).call('list_events', RANGE)).toBe(text)
})

it('lists events by their start, and nothing of what is not an event', async () => {
  const [late, early] = ['DTSTART:20261203T090000Z', 'DTSTART:20261201T090000Z']
  const listed = events([late, 'SUMMARY:c'], [early, 'SUMMARY:a'], [early, 'SUMMARY:b'])
  const { call } = nextcloud(HOME, listed)
  expect((await call('list_events', RANGE)).replace(/.*UTC/g, '')).toBe('  a  (Home)\n  b  (Home)\n  c  (Home)')
  const without = nextcloud(HOME, multistatus([at('home/x.ics'), '<d:getetag>e</d:getetag>']))
  expect(await without.call('list_events', RANGE)).toBe('There are no events.')
})

it('asks for a range of times as it is given, and of days with the last of them', async () => {
  const { call, requests } = nextcloud(HOME, multistatus(), HOME, multistatus())
  await call('list_events', { from: '2026-12-01T10:00:00+01:00', to: '2026-12-01T12:00Z' })
  await call('list_events', RANGE)
  expect(requests[1]?.body).toContain('<c:time-range start="20261201T090000Z" end="20261201T120000Z"/>')
  expect(requests[3]?.body).toContain('<c:time-range start="20261201T000000Z" end="20261206T000000Z"/>')
})

it('asks the one calendar that is named, and says so where there is none', async () => {
  const two = multistatus([at('home/'), named('Home')], [at('work/'), named('Work')])
  const { call, requests } = nextcloud(two, multistatus(), two)
  expect(await call('list_events', { ...RANGE, calendar: 'work' })).toBe('There are no events.')
  expect(requests.map(({ path }) => path)).toEqual([at(''), at('work/')])
  await expect(call('list_events', { ...RANGE, calendar: 'Work' })).rejects.toThrow('There is no calendar Work: ')
  expect(requests).toHaveLength(3)
})

it('lists nothing of the others where the sign-in ends, or the program fails, on the way', async () => {
  const two = multistatus([at('home/'), named('Home')], [at('work/'), named('Work')])
  const broken = nextcloud(two, {
    status: 207,
    body: new ReadableStream({ start: (stream) => stream.error(new TypeError('terminated')) }),
  })
  expect(await broken.callByClient('list_events', RANGE)).toMatchObject({
    text: 'Nextcloud is not available.',
    isError: true,
  })
})

it.each([
  ['of an hour without an end', { start: '2026-12-01T10:00:00+01:00' }, ['20261201T090000Z', '20261201T100000Z']],
  ['of two hours', { start: '2026-12-01T10:00Z', end: '2026-12-01T12:00Z' }, ['20261201T100000Z', '20261201T120000Z']],
  ['of one day', { start: '2026-12-01' }, ['20261201', '20261202']],
])('adds an event %s', async (_, span, [start, end]) => {
  const { call, requests } = nextcloud({ status: 201 })
  await call('add_event', { calendar: 'home', title: 'x', ...span })
  expect(requests[0]?.body.match(/(?<=DT(?:START|END)[^:]*:)\S+/g)).toEqual([start, end])
})

it.each([
  [404, 'There is no calendar home: list_calendars tells their names'],
  [403, 'The user cannot add events to home (403).'],
])('says why an event is not added: %i', async (status, text) => {
  const adding = nextcloud({ status }).call('add_event', { calendar: 'home', title: 'x', start: '2026-12-01' })
  const failure: unknown = await adding.catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(ToolFailure)
  expect((failure as Error).message).toContain(text)
})

it('says so where a calendar has gone since it was listed', async () => {
  await expect(nextcloud(HOME, { status: 404 }).call('list_events', RANGE)).rejects.toThrow(
    'There is no calendar home (404).',
  )
})

const times = (count: number, title: string): string =>
  `<calendar-data>BEGIN:VCALENDAR\n${`BEGIN:VEVENT\nDTSTART:20261201T090000Z\nSUMMARY:${title}\nEND:VEVENT\n`.repeat(count)}END:VCALENDAR</calendar-data>`
const LATE =
  '<calendar-data>BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261204T090000Z\nSUMMARY:late\nEND:VEVENT\nEND:VCALENDAR</calendar-data>'

it.each([
  ['a calendar that others fill', [[at('theirs/0.ics'), times(250, 'x')]], [[at('home/0.ics'), LATE]]],
  [
    'an invitation that recurs',
    [],
    [
      [at('home/0.ics'), times(250, 'x')],
      [at('home/1.ics'), LATE],
    ],
  ],
] as [string, [string, string][], [string, string][]][])(
  'regression: %s took all places in the list of events',
  async (_, theirs, own) => {
    const two = multistatus([at('theirs/'), named('Theirs')], [at('home/'), named('Home')])
    const shown = (await nextcloud(two, multistatus(...theirs), multistatus(...own)).call('list_events', RANGE)).split(
      '\n',
    )

    expect(shown).toHaveLength(201)
    expect(shown.slice(-2)).toEqual(['2026-12-04 09:00 UTC  late  (Home)', '… and 51 more, which are not shown.'])
  },
)

it('reads thirty calendars, and says so where there are more', async () => {
  const list = Array.from({ length: 32 }, (_, index): [string, string] => [at(`c${index}/`), named(`C${index}`)])
  const { call, requests } = nextcloud(multistatus(...list), ...Array<object>(40).fill(multistatus()))

  expect(await call('list_events', RANGE)).toBe(
    'There are no events.\nOnly 30 of the 32 calendars are read: name one to read it.',
  )
  expect(requests).toHaveLength(31)
})

const GOOD = ['DTSTART:20261201T090000Z', 'SUMMARY:x']
const SHOWN = '2026-12-01 09:00 UTC  x  (Home)'

it.each([
  ['a start', ['DTSTART;VALUE=DATE:20261200', 'DTEND;VALUE=DATE:20261202']],
  ['a start in the year 0000', ['DTSTART;VALUE=DATE:00001201', 'DURATION:P1D']],
])('regression: an event with %s that no calendar has cost the list of all others', async (_, bad) => {
  const { callByClient } = nextcloud(HOME, events(GOOD, bad))
  expect(await callByClient('list_events', RANGE)).toEqual({
    text: `${SHOWN}\nOne event, which cannot be read, is left out of the calendar Home [home].`,
    isError: undefined,
    defects: [],
  })
})

it('shows an event whose end no calendar has as one without an end', async () => {
  const bad = ['DTSTART;VALUE=DATE:20261202', 'DTEND;VALUE=DATE:20261200', 'SUMMARY:y']
  expect(await nextcloud(HOME, events(GOOD, bad)).call('list_events', RANGE)).toBe(
    `${SHOWN}\n2026-12-02, all day  y  (Home)`,
  )
})

const LISTED = multistatus(
  ...['a', 'b', 'c', 'd'].map((name): [string, string] => [at(`home/${name}&amp;.ics`), '<d:getetag>e</d:getetag>']),
)
const LARGE = events([...GOOD, `DESCRIPTION:${'x'.repeat(1_048_576)}`])

it.each([
  ['to which Nextcloud answers 500, as to one each second', { status: 500 }],
  ['that is too large', LARGE],
])('regression: an event %s cost the list of its calendar', async (_, bad) => {
  const { call, requests } = nextcloud(HOME, bad, LISTED, bad, events(GOOD, GOOD), bad, bad, events(GOOD))
  expect(await call('list_events', RANGE)).toBe(
    `${SHOWN}\n${SHOWN}\n${SHOWN}\nOne event, which cannot be read, is left out of the calendar Home [home].`,
  )
  const asked = requests
    .slice(3)
    .map(({ body }) => [...body.matchAll(/(\w)&amp;\.ics/g)].map(([, name]) => name).join(''))
  expect(asked).toEqual(['abcd', 'ab', 'cd', 'c', 'd'])
  expect(requests[7]?.body).toContain('<c:expand start="20261201T000000Z" end="20261206T000000Z"/>')
})

it('asks for events apart at most 32 times in a call, and counts what is left', async () => {
  const names = Array.from({ length: 100 }, (_, index): [string, string] => [
    at(`home/${index}.ics`),
    '<d:getetag>e</d:getetag>',
  ])
  const broken = { status: 500 }
  const { call, requests } = nextcloud(HOME, broken, multistatus(...names), ...Array<object>(100).fill(broken))
  expect(await call('list_events', RANGE)).toBe(
    'There are no events.\n100 events, which cannot be read, are left out of the calendar Home [home].',
  )
  expect(requests).toHaveLength(3 + 32)
})

it('regression: a calendar that others share used up the requests for the events of the next', async () => {
  const two = multistatus([at('theirs/'), named('Theirs')], [at('home/'), named('Home')])
  const theirs = Array.from({ length: 100 }, (_, index): [string, string] => [at(`theirs/${index}.ics`), ''])
  const own = multistatus([at('home/0.ics'), ''], [at('home/1.ics'), ''])
  const broken = { status: 500 }
  const failing = Array<object>(16).fill(broken)
  const { call } = nextcloud(two, broken, multistatus(...theirs), broken, own, ...failing, broken, events(GOOD), broken)

  expect((await call('list_events', RANGE)).split('\n')).toEqual([
    SHOWN,
    '100 events, which cannot be read, are left out of the calendar Theirs [theirs].',
    'One event, which cannot be read, is left out of the calendar Home [home].',
  ])
})

it('leaves a calendar out where it cannot be read event by event either', async () => {
  await expect(nextcloud(HOME, { status: 500 }, { status: 500 }).call('list_events', RANGE)).rejects.toThrow(
    'Nextcloud answered 500 for home.',
  )
})

it.each(['0000-12-01', '9999-12-31', '9999-12-31T23:30:00Z', '2026-02-31'])('takes no moment %s', async (start) => {
  const { call, requests } = nextcloud()
  await expect(call('add_event', { calendar: 'home', title: 'x', start })).rejects.toThrow('must be a day')
  expect(requests).toEqual([])
})
