import { expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { readBytes } from '../../src/serve/tools/answer.js'
import { TOOLS, toolsCalled } from '../../src/serve/tools/tools.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'
import { SCOPES, ToolFailure } from '../../src/serve/tools/tool.js'
import { FILE, FOLDER, JSON_TYPE, multistatus, nextcloud, type Answer } from './support/tool-nextcloud.js'

it('has a scope for each tool, and a sentence for each scope', () => {
  expect(new Set(TOOLS.flatMap(({ scopes }) => scopes))).toEqual(new Set(Object.keys(SCOPES)))
  for (const { name, scopes, readOnly } of TOOLS) {
    expect(scopes.length, name).toBeGreaterThan(0)
    expect(
      scopes.some((scope) => scope.endsWith(':write')),
      name,
    ).toBe(!readOnly)
  }
})

it('finds the calls in a body, whatever it holds', () => {
  const message = (name: unknown) => ({ method: 'tools/call', params: { name } })
  expect(toolsCalled([message('read_file'), message(1), { method: 'ping' }, null, message('add_event')])).toEqual([
    'read_file',
    'add_event',
  ])
  for (const body of [
    undefined,
    null,
    1,
    'x',
    [[]],
    { method: 'tools/call' },
    { method: 'tools/call', params: null },
  ]) {
    expect(toolsCalled(body)).toEqual([])
  }
})

it('lists a folder of a Nextcloud that is in a folder of its host', async () => {
  const { call, requests } = nextcloud(
    multistatus(
      ['/cloud/remote.php/dav/files/anna%20b/Do%cc%88cs/', FOLDER],
      ['/cloud/remote.php/dav/files/anna%20b/Do%cc%88cs/sub/', FOLDER],
      ['/cloud/remote.php/dav/files/anna%20b/Do%cc%88cs/a%25b.txt', FILE],
    ),
  )
  expect(await call('list_files', { path: '/Döcs/' })).toBe('sub/\na%b.txt (5 bytes)')
  expect(requests[0]).toMatchObject({ method: 'PROPFIND', path: '/remote.php/dav/files/anna%20b/D%C3%B6cs' })
})

it.each(['../x', 'a/../b', './x', 'a/.', '\ud800'])('takes no path %j', async (path) => {
  const { call, requests } = nextcloud()
  await expect(call('write_file', { path, content: '' })).rejects.toBeInstanceOf(ToolFailure)
  expect(requests).toEqual([])
})

it('makes the folders of a new file, and overwrites nothing', async () => {
  const { call, requests } = nextcloud(
    { status: 404, body: 'x' },
    { status: 405 },
    { status: 201 },
    { status: 201, headers: { 'oc-etag': '"n"' } },
  )
  expect(await call('write_file', { path: 'a/b/c.txt', content: 'x' })).toBe('Wrote a/b/c.txt. Its etag is now "n".')
  expect(requests.map(({ method, path }) => `${method} ${path.split('anna%20b')[1] ?? ''}`)).toEqual([
    'PUT /a/b/c.txt',
    'MKCOL /a',
    'MKCOL /a/b',
    'PUT /a/b/c.txt',
  ])
  expect(requests.map(({ headers }) => headers.get('if-none-match'))).toEqual(['*', null, null, '*'])
})

it('replaces the very content that was read, and makes no folder for it', async () => {
  const { call, requests } = nextcloud({ status: 412 }, { status: 404 })
  const given = { path: 'a/b.txt', content: 'x', etag: '"e"' }
  await expect(call('write_file', given)).rejects.toThrow('has changed (412)')
  await expect(call('write_file', given)).rejects.toThrow('There is no a/b.txt (404)')
  expect(requests.map(({ method, headers }) => [method, headers.get('if-match')])).toEqual([
    ['PUT', '"e"'],
    ['PUT', '"e"'],
  ])
})

it('reads a large file piece by piece, and no file that is not text', async () => {
  const entry = (size: number): Answer =>
    multistatus(['/remote.php/dav/files/anna%20b/x', FILE.replace('>5<', `>${size}<`)])
  const { call, requests } = nextcloud(entry(200_000), { status: 206, body: `${'x'.repeat(99_999)}ä`.slice(0, 99_999) })
  expect(await call('read_file', { path: 'x', offset: 10 })).toContain(
    'bytes 10 to 100009. It goes on: read it with offset 100009.',
  )
  expect(requests[1]?.headers.get('range')).toBe('bytes=10-100009')
  const { call: second } = nextcloud(entry(3), { status: 206, body: new Blob([new Uint8Array([0xff, 0, 1])]).stream() })
  await expect(second('read_file', { path: 'x' })).rejects.toThrow('x is not a text file.')
  const { call: third } = nextcloud(entry(100_001), { status: 206, body: 'x'.repeat(100_001) })
  await expect(third('read_file', { path: 'x' })).rejects.toThrow('is larger than')
})

it('reads no more of an endless answer than a megabyte', async () => {
  let sent = 0
  const cancelled: true[] = []
  const endless = () =>
    new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(((sent += 65_536), 65_536))),
      cancel: () => void cancelled.push(true),
    })
  for (const [name, args] of [
    ['list_files', {}],
    ['list_notes', {}],
    ['read_note', { id: 1 }],
    ['list_calendars', {}],
    ['search_files', { name: 'x' }],
  ] as const) {
    sent = 0
    cancelled.length = 0
    const status = /file|calendar/.test(name) ? 207 : 200
    await expect(nextcloud({ status, headers: JSON_TYPE, body: endless() }).call(name, args)).rejects.toThrow(
      'is larger than',
    )
    expect(sent).toBeLessThan(1_500_000)
    expect(cancelled).toEqual([true])
  }
})

it('tells nothing that Nextcloud said when it refuses', async () => {
  for (const [name, args] of [
    ['list_files', {}],
    ['read_file', { path: 'x' }],
    ['write_file', { path: 'x', content: '' }],
    ['search_files', { name: 'x' }],
    ['list_notes', {}],
    ['create_note', { title: 'x', content: '' }],
    ['update_note', { id: 1, etag: 'e', content: '' }],
    ['list_calendars', {}],
    ['add_event', { calendar: 'x', title: 'x', start: '2026-12-01' }],
  ] as const) {
    for (const status of [400, 403, 404, 412, 418, 500, 503]) {
      const { call } = nextcloud({ status, headers: JSON_TYPE, body: 'secret words' })
      const error = await call(name, args).catch((failure: unknown) => failure)
      expect(error, name).toBeInstanceOf(ToolFailure)
      expect((error as Error).message).not.toContain('secret')
    }
  }
})

it('says so where the app Notes is not installed', async () => {
  const page: Answer = { status: 404, headers: { 'content-type': 'text/html; charset=UTF-8' }, body: '<html>' }
  for (const [name, args] of [
    ['list_notes', {}],
    ['read_note', { id: 1 }],
    ['create_note', { title: 'x', content: '' }],
  ] as const) {
    await expect(nextcloud(page).call(name, args)).rejects.toThrow('The app Notes is not installed')
  }
})

it('takes an answer that is no JSON, or not that of Notes, as a failure', async () => {
  for (const body of ['<html>', '{}', '[{"id":"x"}]', 'null']) {
    await expect(nextcloud({ headers: JSON_TYPE, body }).call('list_notes')).rejects.toBeInstanceOf(ToolFailure)
  }
})

it('changes a note as it was read', async () => {
  const note = { id: 7, title: 'T', category: '', content: 'new', etag: 'f', modified: 1 }
  const { call, requests } = nextcloud(
    { headers: JSON_TYPE, body: JSON.stringify(note) },
    { status: 412, headers: JSON_TYPE },
  )
  expect(await call('update_note', { id: 7, etag: 'e', content: 'new' })).toBe('Changed note 7, T. Its etag is now f.')
  expect(requests[0]).toMatchObject({ method: 'PUT', body: '{"content":"new"}' })
  expect(requests[0]?.headers.get('if-match')).toBe('"e"')
  await expect(call('update_note', { id: 7, etag: 'e', title: 'x' })).rejects.toThrow('has changed since it was read')
  await expect(call('update_note', { id: 7, etag: 'e' })).rejects.toThrow('There is nothing to change')
})

it.each([
  ['the 31st of February', { start: '2026-02-31' }],
  ['a time without its offset', { start: '2026-12-01T10:00' }],
  ['words', { start: 'tomorrow' }],
  ['a day and a time', { start: '2026-12-01', end: '2026-12-01T10:00Z' }],
  ['an end before the start', { start: '2026-12-02', end: '2026-12-01' }],
  ['a name that leads elsewhere', { calendar: '..', start: '2026-12-02' }],
])('adds no event with %s', async (_, args) => {
  const { call, requests } = nextcloud()
  await expect(call('add_event', { calendar: 'x', title: 'x', ...args })).rejects.toThrow()
  expect(requests).toEqual([])
})

it('adds an event of days with an end in iCalendar that is not part of it', async () => {
  const { call, requests } = nextcloud({ status: 201 })
  expect(await call('add_event', { calendar: 'x', title: 'Trip', start: '2026-12-30', end: '2027-01-01' })).toBe(
    'Added Trip: 2026-12-30 to 2027-01-01, all day.',
  )
  expect(requests[0]?.body).toContain('DTEND;VALUE=DATE:20270102\r\n')
  expect(requests[0]?.headers.get('if-none-match')).toBe('*')
})

it.each([
  ['that ends before it starts', '2026-12-02', '2026-12-01'],
  ['of a hundred days', '2026-01-01', '2026-04-10'],
])('lists no events of a range %s', async (_, from, to) => {
  const { call, requests } = nextcloud()
  await expect(call('list_events', { from, to })).rejects.toBeInstanceOf(ToolFailure)
  expect(requests).toEqual([])
})

const CALENDARS = multistatus(
  ...['trap', 'home'].map(
    (name) =>
      [
        `/remote.php/dav/calendars/anna%20b/${name}/`,
        `<d:displayname>${name}</d:displayname><d:resourcetype><d:collection/><c:calendar xmlns:c="urn:ietf:params:xml:ns:caldav"/></d:resourcetype>`,
      ] as [string, string],
  ),
)

it('lists the events of the other calendars where Nextcloud fails for one', async () => {
  const { call } = nextcloud(CALENDARS, { status: 500 }, { status: 403 }, multistatus())
  const text = await call('list_events', { from: '2026-12-01', to: '2026-12-02' })
  expect(text).toBe('There are no events.\nThe calendar trap [trap] is left out: Nextcloud answered 500 for trap.')
})

it('fails where Nextcloud fails for the calendar that was asked for, or for all', async () => {
  const range = { from: '2026-12-01', to: '2026-12-02' }
  const one = nextcloud(CALENDARS, { status: 500 })
  await expect(one.call('list_events', { ...range, calendar: 'trap' })).rejects.toThrow(
    'Nextcloud answered 500 for trap.',
  )
  const all = nextcloud(CALENDARS, { status: 500 }, { status: 500 })
  await expect(all.call('list_events', range)).rejects.toThrow('home')
})

it.each(['..\\', 'Docs\\x', '\\'])('takes no path with a backslash: %j', async (path) => {
  const { call, requests } = nextcloud()
  await expect(call('list_files', { path })).rejects.toBeInstanceOf(ToolFailure)
  expect(requests).toEqual([])
})

/** A body that begins so, and goes on as it is told. */
function bodyThat(end: (stream: ReadableStreamDefaultController) => void, cancelled: () => void = () => undefined) {
  let begun = false
  return new ReadableStream({
    pull(stream) {
      if (begun) return end(stream)
      begun = true
      stream.enqueue(Buffer.from('{"id": 1, "ti'))
    },
    cancel: cancelled,
  })
}

const breaksOff = () => bodyThat((stream) => stream.error(new TypeError('terminated')))

it.each([
  ['read_note', { id: 1 }, 'Nextcloud is not available.'],
  ['list_notes', {}, 'Nextcloud is not available.'],
  ['list_calendars', {}, 'Nextcloud is not available.'],
  [
    'create_note',
    { title: 'x', content: '' },
    'Nextcloud is not available. It may have been done all the same: read it before you try again.',
  ],
  [
    'update_note',
    { id: 1, etag: 'e', title: 'x' },
    'Nextcloud is not available. It may have been done all the same: read it before you try again.',
  ],
])('tells an answer to %s that breaks off as an outage, and as no defect', async (name, args, text) => {
  const { callByClient } = nextcloud({
    status: name === 'list_calendars' ? 207 : 200,
    headers: JSON_TYPE,
    body: breaksOff(),
  })

  expect(await callByClient(name, args)).toEqual({ text, isError: true, defects: [] })
})

it('tells a file that breaks off as an outage', async () => {
  const file = multistatus(['/remote.php/dav/files/anna%20b/a.txt', FILE])
  const { callByClient } = nextcloud(file, { status: 206, body: breaksOff() })

  const answer = await callByClient('read_file', { path: 'a.txt', offset: 0 })

  expect(answer).toEqual({ text: 'Nextcloud is not available.', isError: true, defects: [] })
})

it('waits a minute for the end of a body, and ends its connection then', async () => {
  const clock = manualClock()
  let isCancelled = false
  const answer = new Response(
    bodyThat(
      () => undefined,
      () => void (isCancelled = true),
    ),
  )
  const reading = readBytes(answer, 1_000, clock).catch((error: unknown) => error)
  clock.advance(59_999)
  await turn()
  expect(isCancelled).toBe(false)
  clock.advance(1)

  expect(await reading).toBeInstanceOf(UpstreamUnavailableError)
  expect(isCancelled).toBe(true)
})

it('ends the connection of a body that is too large', async () => {
  let isCancelled = false
  const large = bodyThat(
    (stream) => stream.enqueue(Buffer.alloc(600_000)),
    () => void (isCancelled = true),
  )

  await expect(readBytes(new Response(large))).rejects.toThrow('larger than 1048576 bytes')
  expect(isCancelled).toBe(true)
})

it('takes the word of a status whose body is broken off', async () => {
  const { callByClient } = nextcloud({
    status: 404,
    headers: JSON_TYPE,
    body: new ReadableStream({ start: (stream) => stream.error(new Error('x')) }),
  })

  expect(await callByClient('read_note', { id: 7 })).toEqual({
    text: 'There is no note 7 (404).',
    isError: true,
    defects: [],
  })
})
