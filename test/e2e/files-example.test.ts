import { mcpAuth } from 'mcp-nextcloud-auth'
import { Readable } from 'node:stream'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { createApp } from '../../examples/files/app.js'
import type { Files } from '../../examples/files/files.js'
import { upload } from '../../examples/files/upload.js'
import { createFile, find, type Folder } from '../../src/testing/nextcloud/files.js'
import { startStandIn, type NextcloudStandIn } from '../support/nextcloud/stand-in.js'
import { addAccount, type Account } from '../support/nextcloud/state.js'
import { listen } from '../support/hosts.js'
import { mcpClients, type McpClient } from '../support/mcp-clients.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const MIB = 2 ** 20
const NAMES = ['#1?', '100%', 'grün & <b> "q"', '%41', 'a+b; c=d,e'] as const

let nextcloud: NextcloudStandIn
let alice: Account
let client: McpClient
let files: Files
let ask: (
  method: string,
  path: string,
  init?: { headers?: Record<string, string>; body?: unknown },
) => Promise<Response>

/** The example against a Nextcloud in which the user id is not the subject of the token. */
beforeEach(async () => {
  const as = await startAuthorizationServer()
  onTestFinished(as.close)
  nextcloud = await startStandIn({ provider: { issuer: as.issuer, clientId: 'nextcloud', uid: 'preferred_username' } })
  onTestFinished(nextcloud.close)
  alice = addAccount(nextcloud.state, 'alice')
  const claims = { aud: 'nextcloud', sub: '4711', preferred_username: 'alice' }
  as.script('/token', { json: { access_token: await as.mint(claims), token_type: 'Bearer', expires_in: 300 } })
  const auth = mcpAuth({
    issuer: as.issuer,
    resource: RESOURCE,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    nextcloud: { url: nextcloud.url },
  })
  onTestFinished(() => auth.close())
  const app = await listen(createApp(auth))
  onTestFinished(app.close)
  const token = await as.mint({ sub: '4711' })
  const who = await auth.verify(token)
  files = { fetch: (path, init) => auth.nextcloudFetch(who, path, init), user: () => auth.nextcloudUser(who) }
  client = await mcpClients['SDK v2, 2026-07-28']({ url: `${app.url}/mcp`, token })
  ask = (method, path, { headers, body } = {}) =>
    fetch(`${app.url}/files/${path.split('/').map(encodeURIComponent).join('/')}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...headers },
      ...(body !== undefined && { body, duplex: 'half' }),
    } as RequestInit)
})

const contentOf = (path: string): Buffer | undefined => {
  const node = find(alice.files, path.split('/'))
  return node?.kind === 'file' ? node.content : undefined
}
const etagIn = (text: string): string => /etag (?:is now )?("\w+")/.exec(text)?.[1] ?? ''
const uploads = (): Folder['children'] => alice.uploads.children
const addFolder = (path: string) =>
  alice.files.children.set(path, { kind: 'folder', id: nextcloud.state.nextId(), children: new Map() })
/** A body of so many bytes, of which nobody has stated how many they are. */
const stream = (bytes: number) => new Blob([Buffer.alloc(bytes, 'x')]).stream()

it('lists, reads and writes files whose names hold anything', async () => {
  addFolder('Ä #1? 100%')
  for (const name of NAMES) {
    const path = `Ä #1? 100%/${name}`
    const written = await client.callTool('write_file', { path, content: `in ${name}` })
    const read = await client.callTool('read_file', { path })

    expect(written).toMatchObject({ isError: false })
    expect(read.text).toContain(`\nin ${name}`)
    expect(etagIn(read.text)).toBe(etagIn(written.text))
  }
  const { text } = await client.callTool('list_files', { path: 'A\u0308 #1? 100%' })
  expect(text.split('\n')).toEqual(NAMES.map((name) => `${name} (${Buffer.byteLength(`in ${name}`)} bytes)`))
  expect(await client.callTool('list_files')).toEqual({ text: 'Ä #1? 100%/', isError: false })
})

it('creates a file, and replaces only the content that was read', async () => {
  const first = await client.callTool('write_file', { path: 'a.txt', content: 'one' })
  const blind = await client.callTool('write_file', { path: 'a.txt', content: 'two' })
  const seen = await client.callTool('write_file', { path: 'a.txt', content: 'three', etag: etagIn(first.text) })
  const late = await client.callTool('write_file', { path: 'a.txt', content: 'four', etag: etagIn(first.text) })

  expect([first, blind, seen, late].map(({ isError }) => isError)).toEqual([false, true, false, true])
  expect(blind.text).toContain('is there already')
  expect(contentOf('a.txt')?.toString()).toBe('three')
})

it('reads a text in pieces that cut no character', async () => {
  const whole = `x${'ä€𝄞'.repeat(25_000)}`
  alice.files.children.set('long.txt', createFile(Buffer.from(whole)))
  let all = ''
  for (let offset: string | undefined = '0'; offset !== undefined;) {
    const { text } = await client.callTool('read_file', { path: 'long.txt', offset: Number(offset) })
    all += text.slice(text.indexOf('\n') + 1)
    offset = /too large for one call: go on with offset (\d+)/.exec(text)?.[1]
  }
  expect(all).toBe(whole)
})

it('says in words why a tool cannot read or write', async () => {
  addFolder('Docs')
  alice.files.children.set('binary', createFile(Buffer.from([0xff, 0xd8])))
  alice.files.children.set('locked.txt', createFile(Buffer.from('x')))
  nextcloud.state.locked.add('alice/locked.txt')
  const told = async (tool: string, args: object) => {
    const { text, isError } = await client.callTool(tool, { ...args })
    expect(isError).toBe(true)
    return text
  }

  expect(await told('list_files', { path: 'None' })).toContain('There is no None')
  expect(await told('read_file', { path: 'None' })).toContain('There is no None')
  expect(await told('read_file', { path: 'Docs' })).toContain('is a folder')
  expect(await told('list_files', { path: 'binary' })).toContain('is a file')
  expect(await told('read_file', { path: 'binary' })).toContain('is no text: download it')
  expect(await told('read_file', { path: 'locked.txt' })).toContain('is in use')
  expect(await told('write_file', { path: 'None/a.txt', content: 'x' })).toContain('no folder for it')
  expect(await told('write_file', { path: 'Docs/../a.txt', content: 'x' })).toContain('leads elsewhere')
  expect(await told('write_file', { path: 'a.txt', content: 'x'.repeat(100_001) })).toContain('too large')
  alice.quota = 1
  expect(await told('write_file', { path: 'a.txt', content: 'xx' })).toContain('no room')
  expect([...alice.files.children.keys()]).toEqual(['Docs', 'binary', 'locked.txt'])
})

const CHUNKED = ['MKCOL', 'PUT', 'PUT', 'PUT', 'MOVE']
const writes = () => nextcloud.requests.filter(({ method }) => ['PUT', 'MKCOL', 'MOVE', 'DELETE'].includes(method))

it.each([
  ['of a stated length, in one request', { bytes: 10, length: 10, chunk: 10 }, ['PUT']],
  ['of a length beyond a chunk, in chunks', { bytes: 25, length: 25, chunk: 10 }, CHUNKED],
  ['of no stated length, in chunks', { bytes: 25, length: undefined, chunk: 10 }, CHUNKED],
  ['of three chunks to the byte', { bytes: 24, length: undefined, chunk: 8 }, CHUNKED],
  ['of nothing, and no stated length', { bytes: 0, length: undefined, chunk: 10 }, ['MKCOL', 'PUT', 'MOVE']],
])('stores a stream %s', async (_what, { bytes, length, chunk }, methods) => {
  const sent = Buffer.from('abcdefghijklmnopqrstuvwxyz').subarray(0, bytes)

  // In pieces that no chunk begins or ends with.
  const pieces = Readable.from([sent.subarray(0, 7), sent.subarray(7, 8), sent.subarray(8)])
  expect(await upload(files, 'grün #1.bin', pieces, { length, chunk })).toMatchObject({ status: 201 })

  expect(contentOf('grün #1.bin')?.toString()).toBe(sent.toString())
  expect(writes().map(({ method }) => method)).toEqual(methods)
  // Some web servers hand on nothing of a body without it.
  const bodies = writes().filter(({ method }) => method === 'PUT')
  expect(bodies.map(({ headers, bytes }) => Number(headers['content-length']) - bytes.length)).toEqual(
    bodies.map(() => 0),
  )
  expect(uploads().size).toBe(0)
})

it('replaces a large file only with the etag that it has', async () => {
  const before = createFile(Buffer.from('before'))
  alice.files.children.set('a.bin', before)
  const { etag } = before

  const blind = await ask('PUT', 'a.bin', { body: stream(MIB) })
  expect([blind.status, contentOf('a.bin')?.length]).toEqual([412, 6])
  const seen = await ask('PUT', 'a.bin', { body: stream(MIB), headers: { 'If-Match': etag } })
  expect([seen.status, contentOf('a.bin')?.length]).toEqual([204, MIB])
  const late = await ask('PUT', 'a.bin', { body: stream(2 * MIB), headers: { 'If-Match': etag } })
  expect([late.status, contentOf('a.bin')?.length]).toEqual([412, MIB])
  // The last word is Nextcloud's, because the file may come or change while the chunks are sent.
  const [move] = nextcloud.requests.filter(({ method }) => method === 'MOVE')
  expect(move?.headers['if']).toBe(`<${nextcloud.url}/remote.php/dav/files/alice/a.bin> ([${etag}])`)
})

it('takes its chunks back after a refusal', async () => {
  const none = await ask('PUT', 'None/a.bin', { body: stream(MIB) })
  expect([none.status, await none.text()]).toEqual([404, expect.stringContaining('no folder for it')])
  expect(writes()).toEqual([])
  alice.quota = 15
  expect(await upload(files, 'a.bin', Readable.from([Buffer.alloc(25)]), { chunk: 20 })).toEqual({ status: 507 })
  alice.quota = 5
  // More than a chunk, so that the refusal comes while the rest is still being sent.
  const full = await ask('PUT', 'a.bin', { body: stream(24 * MIB) })
  expect([full.status, await full.text()]).toEqual([507, expect.stringContaining('no room')])
  expect(writes().map(({ method }) => method)).toEqual(['MKCOL', 'PUT', 'DELETE', 'MKCOL', 'PUT', 'DELETE'])
  expect([uploads().size, contentOf('a.bin')]).toEqual([0, undefined])
})

it('takes its chunks back when whoever sends them has gone', async () => {
  const gone = new AbortController()
  const failing: Files = { ...files, fetch: (path, init) => files.fetch(path, { signal: gone.signal, ...init }) }
  async function* body() {
    yield Buffer.alloc(10)
    expect(writes().map(({ method }) => method)).toEqual(['MKCOL', 'PUT'])
    gone.abort()
    yield await Promise.reject<Buffer>(new Error('aborted'))
  }
  await expect(upload(failing, 'a.bin', body(), { chunk: 5 })).rejects.toThrow('aborted')
  expect(writes().at(-1)?.method).toBe('DELETE')
  expect([uploads().size, contentOf('a.bin')]).toEqual([0, undefined])
})

it('stores nothing of a stream that ends before its length', async () => {
  const { status } = await upload(files, 'a.bin', Readable.from([Buffer.alloc(12)]), { length: 30, chunk: 5 })
  expect([status, contentOf('a.bin'), uploads().size]).toEqual([400, undefined, 0])
})

it('takes no length whose chunks would fill the memory, and any path in no time', async () => {
  const { status } = await upload(files, 'a.bin', Readable.from([Buffer.alloc(12)]), { length: 2 ** 41 })
  expect([status, writes()]).toEqual([413, []])
  const before = performance.now()
  await upload(files, `${'a'.repeat(14_000)}/b`, Readable.from([]), {})
  expect(performance.now() - before).toBeLessThan(500)
})

it('downloads a file, a part of it, and nothing of a folder', async () => {
  addFolder('Docs')
  alice.files.children.set('#1.txt', createFile(Buffer.from('0123456789')))

  const whole = await ask('GET', '#1.txt')
  const part = await ask('GET', '#1.txt', { headers: { Range: 'bytes=2-4' } })
  const folder = await ask('GET', 'Docs')
  const nobody = await fetch(whole.url)

  expect([whole.status, await whole.text()]).toEqual([200, '0123456789'])
  expect(whole.headers.get('content-disposition')).toContain('attachment')
  expect([part.status, await part.text()]).toEqual([206, '234'])
  expect([folder.status, nobody.status]).toEqual([404, 401])
})
