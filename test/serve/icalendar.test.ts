import { expect, it, onTestFinished } from 'vitest'
import { readEvents, writeEvent, type CalendarEvent } from '../../src/serve/tools/icalendar.js'

const EVENT: CalendarEvent = {
  title: 'Tea',
  start: '2026-12-01T09:00:00.000Z',
  end: '2026-12-01T10:00:00.000Z',
  location: '',
  description: '',
}
const write = (event: Partial<CalendarEvent>) =>
  writeEvent({ ...EVENT, ...event }, { uid: 'u1', now: new Date('2026-11-28T12:00:00Z') })

const wrapped = (...lines: readonly string[]) =>
  ['BEGIN:VCALENDAR', 'BEGIN:VEVENT', ...lines, 'END:VEVENT', 'END:VCALENDAR', ''].join('\r\n')

it('writes no end where an event has none', () => {
  expect(write({ end: undefined })).not.toContain('DTEND')
})

it('writes an event in the form of RFC 5545', () => {
  expect(write({}).split('\r\n')).toEqual([
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'PRODID:-//mcp-nextcloud-auth//serve//EN',
    'CALSCALE:GREGORIAN',
    'BEGIN:VEVENT',
    'UID:u1',
    'DTSTAMP:20261128T120000Z',
    'DTSTART:20261201T090000Z',
    'DTEND:20261201T100000Z',
    'SUMMARY:Tea',
    'END:VEVENT',
    'END:VCALENDAR',
    '',
  ])
  expect(write({ start: '2026-12-01', end: '2026-12-02' })).toContain(
    'DTSTART;VALUE=DATE:20261201\r\nDTEND;VALUE=DATE:20261202\r\n',
  )
})

it.each([
  ['separators', 'a;b,c\\d'],
  ['new lines of every kind', 'a\nb\r\nc\rd'],
  ['what looks like a property', 'x\r\nATTENDEE:mailto:eve@example.com\nEND:VEVENT'],
  ['long text beyond ASCII', `${'ä'.repeat(80)}${'👩‍👩‍👧'.repeat(30)}`],
  ['a long word', 'x'.repeat(500)],
  ['an escape of a new line', '\\n and \\\\n'],
])('writes %s so that it is read as it was, in lines of at most 75 octets', (_, description) => {
  const text = write({ title: description, location: description, description })
  for (const line of text.split('\r\n')) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(75)
  expect(text.match(/^ATTENDEE/m)).toBeNull()
  const read = description.replace(/\r\n?/g, '\n')
  expect(readEvents(text).events).toEqual([{ ...EVENT, title: read, location: read, description: read }])
})

it('drops control characters', () => {
  expect(readEvents(write({ title: 'a\u0000b\u001bc\td' })).events[0]?.title).toBe('abc\td')
})

it('reads days, durations, and times of a time zone as they are', () => {
  const read = (...lines: readonly string[]) => readEvents(wrapped(...lines)).events[0]
  expect(read('DTSTART;VALUE=DATE:20261201')).toMatchObject({ start: '2026-12-01', end: undefined, title: '' })
  expect(read('DTSTART;VALUE=DATE:20261201', 'DURATION:P2D')).toMatchObject({ end: '2026-12-03' })
  expect(read('DTSTART:20261201T090000Z', 'DURATION:PT1H30M')).toMatchObject({ end: '2026-12-01T10:30:00.000Z' })
  expect(read('DTSTART;TZID="a:b":20261201T090000', 'SUMMARY;X="c:d":t')).toMatchObject({
    start: '2026-12-01T09:00:00.000',
    title: 't',
  })
})

it('reads nothing of an alarm as of its event, and no event without a start', () => {
  const alarm = ['BEGIN:VALARM', 'DESCRIPTION:alarm', 'END:VALARM']
  expect(readEvents(wrapped('DTSTART:20261201T090000Z', ...alarm, 'DESCRIPTION:mine')).events[0]?.description).toBe(
    'mine',
  )
  expect(readEvents(wrapped('SUMMARY:none', 'DTSTART:soon'))).toEqual({ events: [], unread: 1 })
})

it.each([
  ['20261200', undefined],
  ['20260001', undefined],
  ['20261301', undefined],
  ['20260231', undefined],
  ['20270229', undefined],
  ['20280229', '2028-02-29'],
  ['00000101', undefined],
  ['00010101', '0001-01-01'],
  ['99991231', '9999-12-31'],
  ['20261201T235900Z', '2026-12-01T23:59:00.000Z'],
  ['20261201T240000Z', undefined],
  ['20261201T250000Z', undefined],
  ['20261201T106000Z', undefined],
  ['20261201T100061Z', undefined],
  ['20260231T100000', undefined],
  ['20261231T235960Z', '2026-12-31T23:59:59.000Z'],
])('reads the start %s as a moment that there is, or the event not at all', (start, read) => {
  const { events, unread } = readEvents(wrapped(`DTSTART:${start}`))
  expect([events[0]?.start, unread]).toEqual([read, read === undefined ? 1 : 0])
})

it.each([
  ['a day that there is not', ['DTSTART;VALUE=DATE:20261201', 'DTEND;VALUE=DATE:20261200']],
  ['a time after a day', ['DTSTART;VALUE=DATE:20261201', 'DTEND:20261202T090000Z']],
  ['a day after a time', ['DTSTART:20261201T090000Z', 'DTEND;VALUE=DATE:20261202']],
  ['a day after the year 9999', ['DTSTART;VALUE=DATE:99991231', 'DURATION:P2D']],
  ['a time after the year 9999', ['DTSTART:99991231T230000Z', 'DURATION:PT2H']],
  ['more days than there are', ['DTSTART;VALUE=DATE:20261201', 'DURATION:P99999999999999D']],
])('reads no end that is %s', (_, lines) => {
  const { events } = readEvents(wrapped(...lines))
  expect(events).toMatchObject([{ start: expect.stringMatching(/^\d{4}-12-/) as unknown, end: undefined }])
})

it('counts a duration of a time without a zone as if it were in UTC, wherever this server is', () => {
  const zone = process.env['TZ']
  onTestFinished(() => {
    if (zone === undefined) delete process.env['TZ']
    else process.env['TZ'] = zone
  })
  process.env['TZ'] = 'Asia/Tokyo'
  expect(readEvents(wrapped('DTSTART:20261201T090000', 'DURATION:PT1H')).events[0]?.end).toBe('2026-12-01T10:00:00.000')
})

it('reads a megabyte of anything in linear time', () => {
  for (const part of ['BEGIN:VEVENT\r\n', ' \r\n', ';"', ':', 'END:VEVENT\r\n', '\\']) {
    const startedAt = performance.now()
    readEvents(part.repeat(1_048_576 / part.length))
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  }
})
