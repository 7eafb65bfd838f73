import { expect, it } from 'vitest'
import { JSON_TYPE, nextcloud } from '../support/tool-nextcloud.js'

const note = (id: number, more: object = {}) => ({
  id,
  title: `T${id}`,
  category: '',
  content: 'words',
  etag: 'e',
  modified: id * 86_400,
  ...more,
})
const told = (json: unknown) => ({ headers: JSON_TYPE, body: JSON.stringify(json) })

it.each([
  [{}, '3. T3, changed 1970-01-04\n2. T2 (in Work), changed 1970-01-03\n1. T1, changed 1970-01-02'],
  [{ category: 'Work' }, '2. T2 (in Work), changed 1970-01-03'],
  [{ category: '' }, '3. T3, changed 1970-01-04\n1. T1, changed 1970-01-02'],
  [{ title: 't3' }, '3. T3, changed 1970-01-04'],
  [{ title: 'T3', category: 'Work' }, 'There are no such notes.'],
])('lists the notes that are asked for by %j, the newest first', async (wanted, text) => {
  const { call } = nextcloud(told([note(1), note(3), note(2, { category: 'Work' })]))
  expect(await call('list_notes', wanted)).toBe(text)
})

it('lists a note with a time that no calendar has', async () => {
  expect(await nextcloud(told([note(1, { modified: 1e15 })])).call('list_notes')).toBe(
    '1. T1, changed at an unknown time',
  )
})

it('reads a note with its category and its etag, and says what is cut', async () => {
  const { call } = nextcloud(told(note(1)), told(note(2, { category: 'Work', content: 'x'.repeat(300_000) })))
  expect(await call('read_note', { id: 1 })).toBe('Note 1: T1. Its etag is e.\n\nwords')
  const text = await call('read_note', { id: 2 })
  expect(text).toContain('Note 2: T2, in Work. Its etag is e.\n\nxxx')
  expect(text).toMatch(/Only the first \d+ characters are shown\.$/)
  expect(text.length).toBeLessThan(150_000)
})

it.each([
  [403, 'note 1 is not the user’s to change (403).'],
  [423, 'note 1 is in use (423): try again in a moment.'],
  [429, 'Nextcloud has too many requests (429): try again in a few minutes.'],
  [507, 'There is no room in the user’s Nextcloud (507).'],
])('tells why a note cannot be changed: %i', async (status, text) => {
  const { call } = nextcloud({ status })
  await expect(call('update_note', { id: 1, etag: 'e', title: 'x' })).rejects.toThrow(text)
})

it('takes a 404 without a content type for an app that is not there', async () => {
  const page = { status: 404, body: new ReadableStream() }
  await expect(nextcloud(page).call('read_note', { id: 1 })).rejects.toThrow('The app Notes is not installed')
})

it.each(['"', 'a","b', 'a b', '', 'a\r\nX: y', '\u00e4'])('takes no etag %j of a note', async (etag) => {
  const { call, requests } = nextcloud({ status: 200 })

  await expect(call('update_note', { id: 1, etag, content: 'y' })).rejects.toThrow()
  expect(requests).toEqual([])
})
