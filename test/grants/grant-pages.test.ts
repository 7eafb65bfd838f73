import { describe, expect, it, vi } from 'vitest'
import { readGrantPage, type GrantPage } from '../../src/grants/grant-pages.js'
import { formerKey, recordKey } from '../../src/grants/record-key.js'
import { ALICE, opened, OWNER } from './opened.js'

/** A store with the grants of some users, and other records in between. */
async function setUp(users: number, others = 0) {
  const setup = opened()
  const { records, store } = setup
  const subjects = Array.from({ length: users }, (_, index) => `user-${index}`)
  for (const subject of subjects) {
    const connection = { refreshToken: subject, fingerprint: subject, clientId: 'client-1', scopes: [] }
    await store.connect({ ...ALICE, subject }, connection)
  }
  for (let index = 0; index < others; index += 1) {
    await records.write(recordKey('ticket', OWNER, `ticket-${index}`), { format: 1, value: {}, expiresAt: 1 }, null)
  }
  return { ...setup, subjects }
}

/** All pages, one behind the other. */
async function walk(read: (after: string | undefined) => Promise<GrantPage>): Promise<readonly GrantPage[]> {
  const pages: GrantPage[] = []
  let after: string | undefined
  for (let rounds = 0; rounds < 1_000; rounds += 1) {
    const page = await read(after)
    pages.push(page)
    after = page.next
    if (after === undefined) return pages
  }
  throw new Error('There is no end')
}

const subjectsOf = (pages: readonly GrantPage[]) =>
  pages.flatMap(({ grants }) => grants.map(({ grant }) => grant.identity?.subject))

describe('the grants of a store', () => {
  it.each([1, 3, 7, 100])('come once each, %i at most in a page', async (limit) => {
    const { store, subjects } = await setUp(20)

    const pages = await walk((after) => store.all({ after, limit }))

    expect(subjectsOf(pages).sort()).toEqual([...subjects].sort())
    expect(pages.every(({ grants }) => grants.length <= limit)).toBe(true)
    expect(pages).toHaveLength(Math.ceil(20 / limit))
  })

  it('have the key and the version to change them by', async () => {
    const { store } = await setUp(3)

    for (const { key, version, grant } of (await store.all({ limit: 10 })).grants) {
      expect(await store.write(key, { ...grant, scopes: ['new'] }, version)).toEqual(expect.any(String))
    }
  })

  it('are those of every configuration, and of versions before 0.4, unless some are wanted only', async () => {
    const { store, records } = await setUp(2)
    const [first] = (await store.all({ limit: 1 })).grants
    const owner = { ...OWNER, nextcloud: 'https://cloud.example.org/' }
    await records.write(recordKey('grant', owner, 'i', 's'), { ...first!.grant, owner }, null)
    const former = { ...first!.grant, owner: undefined, identity: undefined }
    await records.write(formerKey('grant', OWNER, 'i', 's'), former, null)

    expect((await store.all({ limit: 10 })).grants).toHaveLength(4)
    const wanted = await store.all({ limit: 10 }, (grant) => grant.owner?.nextcloud === owner.nextcloud)
    expect(wanted.grants.map(({ grant }) => grant.owner)).toEqual([owner])
  })

  it('are told from links, leases and what does not open, which are counted', async () => {
    const { store, records, storage } = await setUp(2, 3)
    await records.write(recordKey('lease', OWNER, 'key'), 'a lease', null)
    await storage.put(recordKey('grant', OWNER, 'i', 's'), 'not to be opened', null)
    await storage.put('another program', 'its value', null)

    const page = await store.all({ limit: 10 })

    expect(page).toMatchObject({ others: 4, sealed: 1 })
    expect(page.grants).toHaveLength(2)
    expect(page.next).toBeUndefined()
  })

  it('cost ten reads each at most: a page may be short, or empty, and have a next', async () => {
    const { store, calls, subjects } = await setUp(3, 200)
    calls.length = 0
    const reads: number[] = []

    const pages = await walk(async (after) => {
      calls.length = 0
      const page = await store.all({ after, limit: 2 })
      reads.push(calls.filter((call) => call === 'get').length)
      return page
    })

    expect(Math.max(...reads)).toBeLessThanOrEqual(20)
    expect(pages.some(({ grants }) => grants.length === 0)).toBe(true)
    expect(subjectsOf(pages).sort()).toEqual(subjects)
  })

  it('may be changed and deleted while they are read', async () => {
    const { store, subjects, storage } = await setUp(10)
    const list = storage.list!.bind(storage)
    vi.spyOn(storage, 'list').mockImplementation(async (page) => {
      const keys = await list(page)
      const [key = ''] = keys
      await storage.delete(key, (await storage.get(key))?.version ?? '')
      return keys
    })

    const pages = await walk((after) => store.all({ after, limit: 4 }))

    expect(subjectsOf(pages)).toHaveLength(subjects.length - pages.length)
    expect(pages.every(({ others, sealed }) => others + sealed === 0)).toBe(true)
  })

  it.each([
    ['more than it was asked for', (keys: string[]) => [...keys, 'v1:zzz']],
    ['what was on the page before', (keys: string[]) => ['v1:', ...keys.slice(1)]],
    ['no keys', () => [1, 2] as never],
    ['no list', () => ({ length: 0 }) as never],
  ])('are not read of an adapter that lists %s', async (_what, change) => {
    const { store, storage } = await setUp(50)
    const list = storage.list!.bind(storage)
    vi.spyOn(storage, 'list').mockImplementation(async (page) => change(await list(page)))

    await expect(store.all({ limit: 1 })).rejects.toMatchObject({ code: 'ERR_STORAGE' })
  })

  it('cannot be read of an adapter without list', async () => {
    const { records } = opened()
    const reading = readGrantPage({ ...records, list: undefined }, { limit: 1 })
    await expect(reading).rejects.toMatchObject({ code: 'ERR_CONFIGURATION', option: 'storage' })
  })
})
