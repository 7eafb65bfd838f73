import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeNextcloud, fakeProvider } from '../../src/testing/testing.js'
import type { FakeAccount, FakeNextcloud } from '../../src/testing/testing.js'

const NOTES = '/index.php/apps/notes/api/v1'
const FILES = '/remote.php/dav/files/alice'
const UPLOADS = '/remote.php/dav/uploads/alice'

type Headers = Readonly<Record<string, string>>

let nextcloud: FakeNextcloud
let account: FakeAccount
let authorization: string

beforeEach(async () => {
  nextcloud = await fakeNextcloud()
  account = nextcloud.account('alice')
  authorization = `Basic ${Buffer.from(`alice:${account.appPassword()}`).toString('base64')}`
})
afterEach(() => nextcloud.close())

/** Asks with no headers but these, as alice. */
async function ask(line: string, { headers = {}, body }: { headers?: Headers; body?: string } = {}) {
  const [method, path = ''] = line.split(' ')
  const sent = request(nextcloud.url + path, { method, headers: { authorization, ...headers } })
  sent.end(body)
  const [answer] = (await once(sent, 'response')) as [import('node:http').IncomingMessage]
  return { status: answer.statusCode, headers: answer.headers, body: await text(answer) }
}

async function note(line: string, more?: Parameters<typeof ask>[1]) {
  const { status, body } = await ask(line, more)
  return { status, note: JSON.parse(body) as Record<string, unknown> }
}

describe('the notes of fakeNextcloud', () => {
  it('are made with a title that no other has, and with the category as their folder', async () => {
    expect((await note(`POST ${NOTES}/notes`)).note).toMatchObject({
      title: 'New note',
      internalPath: '/Notes/New note.md',
    })
    const made = await note(`POST ${NOTES}/notes`, { body: '{"title":"New note","category":"Work"}' })

    expect(made.note).toMatchObject({ title: 'New note (2)', internalPath: '/Notes/Work/New note (2).md' })
  })

  it('are changed by whoever knows how they are, and deleted', async () => {
    const { id } = account.addNote({ title: 'Shopping', content: 'Bread' })
    const line = `${NOTES}/notes/${id}`
    const { etag } = (await note(`GET ${line}`)).note
    const change = (known: unknown, content: string) =>
      note(`PUT ${line}`, { headers: { 'if-match': `"${String(known)}"` }, body: JSON.stringify({ content }) })

    expect(await change(etag, 'Milk')).toMatchObject({ status: 200, note: { title: 'Shopping', content: 'Milk' } })
    expect(await change(etag, 'Eggs')).toMatchObject({ status: 412, note: { content: 'Milk' } })
    expect(await note(`PUT ${line}`, { body: '{"title":"List"}' })).toMatchObject({ status: 200 })
    expect(account.notes()).toMatchObject([{ title: 'List', content: 'Milk' }])
    expect(await ask(`DELETE ${line}`)).toMatchObject({ status: 200, body: '[]' })
    expect(account.notes()).toEqual([])
    expect((await note(`GET ${line}`)).status).toBe(404)
  })

  it('are not found under another path of the app', async () => {
    expect((await ask(`GET ${NOTES}/attachments`)).status).toBe(404)
  })

  it('tell a browser of any origin what it may ask', async () => {
    const { status, headers } = await ask(`OPTIONS ${NOTES}/notes`)

    expect([status, headers['access-control-allow-origin']]).toEqual([200, '*'])
  })
})

describe('the files of fakeNextcloud', () => {
  it('are the same file with another etag when they are written again', async () => {
    account.writeFile('plan.txt', 'one')
    const before = await ask(`GET ${FILES}/plan.txt`)
    account.writeFile('plan.txt', 'two')
    const after = await ask(`GET ${FILES}/plan.txt`)

    expect([before.body, after.body]).toEqual(['one', 'two'])
    expect(after.headers['content-type']).toBe('text/plain;charset=UTF-8')
    expect(after.headers.etag).not.toBe(before.headers.etag)
  })

  it('are read in parts, and not at all where they are known', async () => {
    account.writeFile('plan', '0123456789')
    const part = await ask(`GET ${FILES}/plan`, { headers: { range: 'bytes=2-4' } })
    const rest = await ask(`GET ${FILES}/plan`, { headers: { range: 'bytes=7-' } })
    const { etag = '' } = part.headers

    expect([part.status, part.body, rest.status, rest.body]).toEqual([206, '234', 206, '789'])
    expect(part.headers['content-type']).toBe('application/octet-stream')
    expect(await ask(`GET ${FILES}/plan`, { headers: { 'if-none-match': etag } })).toMatchObject({ status: 304 })
  })

  it.each([
    ['a folder is written as a file', 'PUT', '/', {}, 409],
    ['a folder is there already', 'MKCOL', '/Docs', {}, 405],
    ['the folder above is not there', 'MKCOL', '/none/new', {}, 409],
    ['the folder of a new file is not there', 'PUT', '/none/new', {}, 404],
    ['a file may not be replaced', 'PUT', '/Docs/plan.md', { 'if-none-match': '*' }, 412],
    ['what is changed is not there', 'PUT', '/Docs/new', { 'if-match': '"old"' }, 412],
    [
      'the target of a move is there',
      'MOVE',
      '/Docs/plan.md',
      { destination: `${FILES}/other.md`, overwrite: 'F' },
      412,
    ],
    ['the folder of the target is not there', 'COPY', '/Docs/plan.md', { destination: `${FILES}/none/plan.md` }, 409],
    ['what is asked is not XML', 'PROPFIND', '/Docs', {}, 400],
    ['nobody knows the method', 'REPORT', '/Docs', {}, 501],
  ] as const)('refuse where %s', async (_what, method, path, headers, status) => {
    account.writeFile('Docs/plan.md', '# Plan')
    account.writeFile('other.md', 'other')

    expect((await ask(`${method} ${FILES}${path}`, { headers, body: method === 'PROPFIND' ? '<' : '' })).status).toBe(
      status,
    )
    expect([account.readFile('Docs/plan.md'), account.readFile('other.md')]).toEqual(['# Plan', 'other'])
  })

  it('move away, are copied with an id of their own, and are deleted', async () => {
    account.writeFile('plan.md', '# Plan')
    const copied = await ask(`COPY ${FILES}/plan.md`, { headers: { destination: `${FILES}/copy.md` } })
    const moved = await ask(`MOVE ${FILES}/plan.md`, { headers: { destination: `${nextcloud.url}${FILES}/copy.md` } })

    expect([copied.status, moved.status]).toEqual([201, 204])
    expect(copied.headers['oc-fileid']).not.toBe(moved.headers['oc-fileid'])
    expect([copied.headers.etag, moved.headers.etag]).toEqual([undefined, expect.stringMatching(/^"/)])
    expect([account.readFile('plan.md'), account.readFile('copy.md')]).toEqual([undefined, '# Plan'])
    expect((await ask(`DELETE ${FILES}/copy.md`)).status).toBe(204)
    expect(account.readFile('copy.md')).toBeUndefined()
  })

  it('are listed without their children where no depth is given', async () => {
    account.writeFile('Docs/plan.md', '# Plan')
    const count = async (headers: Headers) =>
      [...(await ask(`PROPFIND ${FILES}/`, { headers })).body.matchAll(/<d:href>/g)].length

    expect([await count({}), await count({ depth: '1' }), await count({ depth: 'infinity' })]).toEqual([1, 2, 3])
  })

  it('say of a principal what a PROPFIND asks, and nothing else', async () => {
    expect((await ask('PROPFIND /remote.php/dav/principals/users/alice/')).status).toBe(207)
    expect((await ask('GET /remote.php/dav/principals/users/alice/')).status).toBe(501)
  })
})

describe('an upload in chunks to fakeNextcloud', () => {
  beforeEach(async () => {
    await ask(`MKCOL ${UPLOADS}/one`)
    for (const chunk of [10, 9]) await ask(`PUT ${UPLOADS}/one/${chunk}`, { body: `<${chunk}>` })
  })
  const assemble = (headers: Headers) => ask(`MOVE ${UPLOADS}/one/.file`, { headers })

  it('is put together in the order of its numbers', async () => {
    expect((await assemble({ destination: `${FILES}/whole` })).status).toBe(201)
    expect(account.readFile('whole')).toBe('<9><10>')
    expect((await assemble({ destination: `${FILES}/whole` })).status).toBe(404)
  })

  it('is kept where it cannot be put together', async () => {
    expect((await assemble({ destination: `${FILES}/none/whole` })).status).toBe(409)
    expect((await assemble({ destination: `${FILES}/whole`, 'oc-total-length': '3' })).status).toBe(400)
    expect((await assemble({ destination: `${FILES}/whole`, 'oc-total-length': '7' })).status).toBe(201)
  })

  it('is forgotten when it is deleted, and knows no other method', async () => {
    expect((await ask(`REPORT ${UPLOADS}/one`)).status).toBe(501)
    expect((await ask(`DELETE ${UPLOADS}/one`)).status).toBe(204)
    expect((await assemble({ destination: `${FILES}/whole` })).status).toBe(404)
  })
})

it('OCS answers in the form that is asked for, which is XML', async () => {
  const asked = (headers: Headers, query = '') =>
    ask(`GET /ocs/v2.php/cloud/user${query}`, { headers: { 'ocs-apirequest': 'true', ...headers } })

  expect((await asked({})).body).toMatch(/^<\?xml/)
  expect((await asked({ accept: 'application/json' })).body).toMatch(/^\{"ocs"/)
  expect((await asked({ accept: 'application/json' }, '?format=xml')).body).toMatch(/^<\?xml/)
})

it('a fakeNextcloud has the accounts of another claim than sub, where that is named', async () => {
  const { issuer, token, close } = await fakeProvider()
  const other = await fakeNextcloud({ provider: { issuer, uid: 'preferred_username' } })
  const whoIs = async (claims: object) => {
    const headers = { authorization: `Bearer ${await token({ aud: 'nextcloud', sub: '8f2c', ...claims })}` }
    await fetch(`${other.url}/ocs/v2.php/cloud/user`, { headers: { ...headers, 'ocs-apirequest': 'true' } })
    return other.requests.at(-1)
  }

  expect(await whoIs({ preferred_username: 'alice' })).toMatchObject({ user: 'alice', status: 200 })
  expect(await whoIs({})).toMatchObject({ status: 401 })
  await Promise.all([other.close(), close()])
})

it('a fakeNextcloud of another provider takes its tokens, where they are for "nextcloud"', async () => {
  const { issuer, token, close } = await fakeProvider()
  const other = await fakeNextcloud({ provider: { issuer } })
  const statusOf = async (aud: string) => {
    const headers = { authorization: `Bearer ${await token({ aud })}`, 'ocs-apirequest': 'true' }
    return (await fetch(`${other.url}/ocs/v2.php/cloud/user`, { headers })).status
  }

  expect([await statusOf('nextcloud'), await statusOf('files')]).toEqual([200, 401])
  await Promise.all([other.close(), close()])
})
