import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { nextcloudPath, type NextcloudRequest } from '../../src/index.js'
import { account, openBed, provider, target } from './support/bed.js'
import { RESOURCE } from './support/provider.js'
import { startMcpServer } from './support/server.js'

openBed()

type Send = (path: string, init?: NextcloudRequest) => Promise<Response>

async function call(): Promise<Send> {
  const { auth } = await startMcpServer(() => ({
    ...provider.options,
    resource: RESOURCE,
    nextcloud: { url: target.url },
  }))
  const who = await auth.verify(await provider.mcpToken(account))
  return (path, init) => auth.nextcloudFetch(who, path, init)
}

const home = () => `/remote.php/dav/files/${account.uid}`

describe('a file', () => {
  it.each(['100% #1? grün.txt', 'a+b & c;d=e.txt', "it's (new)!.txt", 'ユーザー.md', '%41.txt'])(
    'named %s is written, listed, read and deleted by that name',
    async (name) => {
      const send = await call()
      const path = nextcloudPath`/remote.php/dav/files/${account.uid}/${name}`

      expect((await send(path, { method: 'PUT', body: `This is ${name}` })).status).toBe(201)

      expect(await (await send(path)).text()).toBe(`This is ${name}`)
      const listed = await send(`${home()}/`, { method: 'PROPFIND', headers: { depth: '1' } })
      const hrefs = [...(await listed.text()).matchAll(/<d:href>(.*?)<\/d:href>/g)].map(([, href = '']) =>
        decodeURIComponent(href),
      )
      expect(hrefs).toContain(`${new URL(target.url).pathname.replace(/\/$/, '')}${home()}/${name}`)
      expect((await send(path, { method: 'DELETE' })).status).toBe(204)
      expect((await send(path)).status).toBe(404)
    },
  )

  it('is moved to a name that needs escapes', async () => {
    const send = await call()
    const from = nextcloudPath`/remote.php/dav/files/${account.uid}/${'before.txt'}`
    const to = nextcloudPath`/remote.php/dav/files/${account.uid}/${'ü #2.txt'}`
    await send(from, { method: 'PUT', body: 'moved' })

    const moved = await send(from, { method: 'MOVE', headers: { destination: target.url + to } })

    expect(moved.status).toBe(201)
    expect(await (await send(to)).text()).toBe('moved')
    await send(to, { method: 'DELETE' })
  })

  it('is not written over where If-None-Match forbids it', async () => {
    const send = await call()
    const path = `${home()}/once.txt`
    const once = { method: 'PUT', body: 'once', headers: { 'if-none-match': '*' } }

    expect((await send(path, once)).status).toBe(201)
    expect((await send(path, once)).status).toBe(412)

    await send(path, { method: 'DELETE' })
  })
})

describe('an upload', () => {
  const content = randomBytes(3 * 1_048_576)

  it.each<[kind: string, body: () => ReadableStream | Readable, length: boolean]>([
    ['a Node stream', () => Readable.from(inPieces(content)), true],
    ['a web stream', () => new Blob([content]).stream(), true],
  ])('from %s arrives whole', async (_kind, body) => {
    const send = await call()
    const path = `${home()}/stream.bin`
    const headers = { 'content-length': String(content.length) }

    const put = await send(path, { method: 'PUT', body: body() as Readable, headers })

    expect(put.status).toBe(201)
    const got = await send(path)
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true)
    await send(path, { method: 'DELETE' })
  })

  it('in chunks is put together', async () => {
    const send = await call()
    const folder = nextcloudPath`/remote.php/dav/uploads/${account.uid}/${'mcp-upload'}`
    const destination = `${target.url}${home()}/chunks.bin`
    const big = randomBytes(5_242_880 + 5)
    expect((await send(folder, { method: 'MKCOL', headers: { destination } })).status).toBe(201)

    const chunks = [big.subarray(0, 5_242_880), big.subarray(5_242_880)]
    const headers = { destination, 'oc-total-length': String(big.length) }
    for (const [at, body] of chunks.entries()) {
      const put = await send(`${folder}/0000${at + 1}`, { method: 'PUT', body, headers })
      expect(put.status).toBe(201)
    }
    const made = await send(`${folder}/.file`, { method: 'MOVE', headers })

    expect(made.status).toBe(201)
    const got = await send(`${home()}/chunks.bin`)
    expect(Buffer.from(await got.arrayBuffer()).equals(big)).toBe(true)
    await send(`${home()}/chunks.bin`, { method: 'DELETE' })
  })

  it('over the quota is refused', async () => {
    const send = await call()
    const other = `${home()}/too-large.bin`
    await target.occ('user:setting', account.uid, 'files', 'quota', '1 KB')

    const put = await send(other, { method: 'PUT', body: Buffer.alloc(4_096) }).finally(() =>
      target.occ('user:setting', account.uid, 'files', 'quota', 'none'),
    )

    expect(put.status).toBe(507)
  })
})

function* inPieces(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536)
}
