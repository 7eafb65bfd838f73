import { expect, it } from 'vitest'
import { FILE, FOLDER, multistatus, nextcloud } from '../support/tool-nextcloud.js'

const at = (path: string) => `/remote.php/dav/files/anna%20b/${path}`

it('lists the home folder, one that is empty, and a file whose size is not told', async () => {
  const { call, requests } = nextcloud(
    multistatus([at(''), FOLDER], [at('x'), '<d:resourcetype/>'], [at('sub/'), FOLDER]),
    multistatus([at('sub/'), FOLDER]),
  )
  expect(await call('list_files')).toBe('x (? bytes)\nsub/')
  expect(await call('list_files', { path: 'sub' })).toBe('The folder is empty.')
  expect(requests.map(({ path }) => path)).toEqual([at(''), at('sub')])
})

it.each([
  ['list_files', { path: '' }, { status: 404 }, 'There is no home folder (404).'],
  ['list_files', { path: 'x' }, { status: 404 }, 'There is no x (404).'],
  ['list_files', { path: 'x' }, multistatus([at('x'), FILE]), 'x is a file: read_file reads it.'],
  // The list is of something else: what was asked for is not in it.
  ['list_files', { path: 'x' }, multistatus(), 'Nextcloud answered 207 for x.'],
  ['read_file', { path: 'x' }, multistatus([at('x/'), FOLDER]), 'x is a folder: list_files lists it.'],
  ['write_file', { path: 'x' }, { status: 423 }, 'x is in use (423): try again in a moment.'],
  ['write_file', { path: '/' }, { status: 201 }, 'A path must name a file.'],
  ['write_file', { path: 'x', content: 'ä'.repeat(250_001) }, { status: 201 }, 'A call writes at most 500000 bytes.'],
  ['write_file', { path: `${'a/'.repeat(21)}x` }, { status: 409 }, 'A file is at most twenty folders deep.'],
])('tells why %s does not do %j', async (name, given, answer, text) => {
  const args = name === 'write_file' ? { content: '', ...given } : given
  expect(await nextcloud(answer).callByClient(name, args)).toEqual({ text, isError: true, defects: [] })
})

it('makes no folder where one above it cannot be made', async () => {
  const { call, requests } = nextcloud({ status: 409 }, { status: 405 }, { status: 403 })
  await expect(call('write_file', { path: 'a/b/c/x', content: '' })).rejects.toThrow(
    'a/b is not the user’s to read or to write (403).',
  )
  expect(requests.map(({ method }) => method)).toEqual(['PUT', 'MKCOL', 'MKCOL'])
})

it.each([
  ['an empty file', FILE.replace('>5<', '>0<'), 0, 'x has 0 bytes, and etag "e".'],
  ['the end of a file', FILE, 5, 'x has 5 bytes, and etag "e".'],
  ['a file that is told without size and etag', '<d:resourcetype/>', 0, 'x has 0 bytes, and etag unknown.'],
])('reads no content behind %s', async (_, properties, offset, text) => {
  const { call, requests } = nextcloud(multistatus([at('x'), properties]))
  expect(await call('read_file', { path: 'x', offset })).toBe(text)
  expect(requests).toHaveLength(1)
})

it.each([
  [{ 'oc-etag': '"n"', etag: '"of a proxy"' }, '"n"'],
  [{ etag: '"n"' }, '"n"'],
])('takes the etag of Nextcloud before that of a proxy: %j', async (headers, etag) => {
  const { call } = nextcloud(
    multistatus([at('x'), FILE]),
    { status: 206, headers, body: 'hello' },
    { status: 204, headers },
  )
  expect(await call('read_file', { path: 'x' })).toBe(
    `x has 5 bytes, and etag ${etag}. These are bytes 0 to 5.\n\nhello`,
  )
  expect(await call('write_file', { path: 'x', content: '', etag: '"e"' })).toBe(`Wrote x. Its etag is now ${etag}.`)
})

it('tells the etag of the listing where an answer has none, and none where there is none', async () => {
  const { call } = nextcloud(multistatus([at('x'), FILE]), { status: 206, body: 'hello' }, { status: 204 })
  expect(await call('read_file', { path: 'x' })).toContain('x has 5 bytes, and etag "e".')
  expect(await call('write_file', { path: 'x', content: '', etag: '"e"' })).toBe('Wrote x. Its etag is now unknown.')
})

it('reads no file that is not the range that was asked for', async () => {
  const { call } = nextcloud(multistatus([at('x'), FILE]), { status: 200, body: 'hello' })
  await expect(call('read_file', { path: 'x' })).rejects.toThrow('Nextcloud answered 200 for x.')
})

it.each([
  ['zeros', 'a\0b'],
  ['nothing', ''],
])('reads no file of %s', async (_, body) => {
  const { call } = nextcloud(multistatus([at('x'), FILE]), { status: 206, body })
  await expect(call('read_file', { path: 'x' })).rejects.toThrow('x is not a text file.')
})

it('finds what has the text in its name, in any case and spelling, and not what Nextcloud takes for it', async () => {
  const { call, requests } = nextcloud(
    multistatus([at('Do%CC%88cs/'), FOLDER], [at('a/b_c.txt'), FILE], [at('a/bxc.txt'), FILE], [at(''), FOLDER]),
    multistatus([at('Do%CC%88cs/'), FOLDER]),
  )
  expect(await call('search_files', { name: 'B_C' })).toBe('a/b_c.txt (5 bytes)')
  expect(await call('search_files', { name: 'döcs<&>\u0001' })).toBe('Nothing was found.')
  expect(requests[1]?.body).toContain('<d:literal>%döcs&lt;&amp;&gt;%</d:literal>')
})

it('says so where a search finds more than it shows', async () => {
  const found = Array.from({ length: 101 }, (_, index): [string, string] => [at(`a${index}`), FILE])
  const { call, requests } = nextcloud(multistatus(...found), multistatus(...found.slice(1)))
  const more = 'There are more than 100, which are not shown: search for more of the name.'

  expect((await call('search_files', { name: 'a' })).split('\n').slice(99)).toEqual(['a99 (5 bytes)', more])
  expect(requests[0]?.body).toContain('<d:nresults>101</d:nresults>')
  expect((await call('search_files', { name: 'a' })).split('\n')).toHaveLength(100)
})

it.each(['*', '"a","b"', '"a", "b"', 'a', '""', '"a', 'W/"a"', '"a"\r\nX: y', '"a\u00e4"', '*, "a"', ' "a"'])(
  'takes no etag %j, which is not one that read_file told, and writes nothing',
  async (etag) => {
    const { call, requests } = nextcloud({ status: 204 })

    await expect(call('write_file', { path: 'x', content: 'y', etag })).rejects.toThrow(
      'The etag must be one that read_file told, in its quotes',
    )
    expect(requests).toEqual([])
  },
)

it('regression: a name without an end, in marks that must be sorted, took minutes', async () => {
  const { call } = nextcloud(
    multistatus([at(''), FOLDER], [at(`a${'\u0301\u0316'.repeat(150_000)}`), FILE], [at('b'.repeat(1_024)), FILE]),
  )
  const before = performance.now()

  expect(await call('list_files')).toBe(`${'b'.repeat(1_024)} (5 bytes)`)
  expect(performance.now() - before).toBeLessThan(2_000)
})

const MISLEADING = ['a%0Ab', 'a%E2%80%A8b', 'a%E2%80%AEtxt.exe', 'a%E2%81%A6b']
// As macOS names screenshots, and with a joiner.
const UNUSUAL = ['at%209.00%E2%80%AFAM  x.png', '%F0%9F%91%A9%E2%80%8D%F0%9F%8C%BE']

it('shows no name that would end its line or turn its direction, and every other as the tools take it', async () => {
  const files = [...MISLEADING, ...UNUSUAL].map((name): [string, string] => [at(name), FILE])
  const { call, requests } = nextcloud(multistatus([at(''), FOLDER], ...files), multistatus(...files), multistatus())
  const shown = (await call('list_files')).split('\n')

  expect(shown).toEqual([
    ...UNUSUAL.map((name) => `${decodeURIComponent(name)} (5 bytes)`),
    '… and 4 more, whose names cannot be shown.',
  ])
  expect(await call('search_files', { name: 'a' })).toContain('… and 4 more, whose names cannot be shown.')
  await call('read_file', { path: shown[0]!.replace(' (5 bytes)', '') }).catch(() => undefined)
  expect(decodeURIComponent(requests[2]!.path)).toBe(decodeURIComponent(at(UNUSUAL[0]!)))
})

it('asks for no name that would be too long in the answer', async () => {
  const { call, requests } = nextcloud({ status: 404 })

  await expect(call('list_files', { path: `a/${'b'.repeat(1_025)}` })).rejects.toThrow(
    'A name in a path has at most 1024 characters.',
  )
  expect(requests).toEqual([])
})

it('regression: a name that is not UTF-8 cost the list of its folder', async () => {
  const { call } = nextcloud(multistatus([at(''), FOLDER], [at('caf%E9.txt'), FILE], [at('b.txt'), FILE]))
  expect(await call('list_files')).toBe('caf%E9.txt (5 bytes)\nb.txt (5 bytes)')
})
