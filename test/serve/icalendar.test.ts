import { expect, it } from 'vitest'
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
  expect(readEvents(text)).toEqual([{ ...EVENT, title: read, location: read, description: read }])
})

it('drops control characters', () => {
  expect(readEvents(write({ title: 'a\u0000b\u001bc\td' }))[0]?.title).toBe('abc\td')
})

it('reads days, durations, and times of a time zone as they are', () => {
  const read = (...lines: readonly string[]) => readEvents(wrapped(...lines))[0]
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
  expect(readEvents(wrapped('DTSTART:20261201T090000Z', ...alarm, 'DESCRIPTION:mine'))[0]?.description).toBe('mine')
  expect(readEvents(wrapped('SUMMARY:none', 'DTSTART:soon'))).toEqual([])
})

it('reads a megabyte of anything in linear time', () => {
  for (const part of ['BEGIN:VEVENT\r\n', ' \r\n', ';"', ':', 'END:VEVENT\r\n', '\\']) {
    const startedAt = performance.now()
    readEvents(part.repeat(1_048_576 / part.length))
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  }
})
