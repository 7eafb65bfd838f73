import { describe, expect, it, vi } from 'vitest'
import { deletionsIn, createPendingDeletions, type PendingDeletion } from '../../src/grants/pending-deletions.js'
import { recordKey } from '../../src/grants/record-key.js'
import { opened, OWNER } from './opened.js'

const keyOf = (index: number): string => recordKey('deletions', OWNER, String(index))

const deletion = (id: string, size = 10): PendingDeletion => ({
  id,
  identity: { issuer: 'https://idp.example', subject: `user of ${id}` },
  credential: { refreshToken: 'x'.repeat(size) },
  since: 0,
  tries: 1,
  nextAt: 0,
  refused: false,
})

function setUp() {
  const setup = opened()
  const { records, clock, storage } = setup
  const instance = () => createPendingDeletions({ records, owner: OWNER, clock, givenUp: () => undefined })
  const [list, another] = [instance(), instance()]
  return {
    ...setup,
    list,
    another,
    ids: async () => (await list.list()).map(({ id }) => id),
    /** Does something just before each of the next writes, as another instance. */
    meanwhile: (call: 'put' | 'delete', times: number, act: (time: number) => Promise<unknown>) => {
      const own = storage[call].bind(storage) as (...args: unknown[]) => Promise<never>
      let left = times
      let isOther = false
      vi.spyOn(storage, call).mockImplementation(async (...args: unknown[]) => {
        if (left > 0 && !isOther) {
          left -= 1
          isOther = true
          await act(left)
          isOther = false
        }
        return own(...args)
      })
    },
  }
}

describe('two instances that change the list at once', () => {
  it('lose nothing of what either of them puts', async () => {
    const { list, another, ids, meanwhile, clock } = setUp()
    meanwhile('put', 1, () => another.put(deletion('theirs')))

    expect(await list.put(deletion('ours'))).toBe(true)

    expect(await ids()).toEqual(['theirs', 'ours'])
    expect(clock.pauses).toEqual([])
  })

  it('make room for each other by pauses, once eight attempts have come too late', async () => {
    const { list, another, ids, meanwhile, clock } = setUp()
    meanwhile('put', 10, (time) => another.put(deletion(`theirs-${time}`)))

    expect(await list.put(deletion('ours'))).toBe(true)

    expect(await ids()).toContain('ours')
    expect(await ids()).toHaveLength(11)
    expect(clock.pauses).toEqual([25, 25, 25])
  })

  it('remove one of two, and the last one, and neither takes a new one with it', async () => {
    const { list, another, ids, meanwhile } = setUp()
    for (const id of ['first', 'second']) await list.put(deletion(id))
    meanwhile('put', 1, () => another.put(deletion('third')))
    await list.remove('first')
    expect(await ids()).toEqual(['second', 'third'])

    await list.remove('second')
    meanwhile('delete', 1, () => another.put(deletion('fourth')))
    await list.remove('third')

    expect(await ids()).toEqual(['fourth'])
  })
})

describe('a record of the list that does not open', () => {
  it('is left to those who have its key: what comes is put behind it, and what is behind it is found', async () => {
    const { list, ids, storage } = setUp()
    await storage.put(keyOf(0), 'of another key', null)
    const before = await storage.get(keyOf(0))

    expect(await list.put(deletion('ours'))).toBe(true)

    expect(await ids()).toEqual(['ours'])
    expect((await list.claim(() => true, 7)).claimed.map(({ id }) => id)).toEqual(['ours'])
    expect(await storage.get(keyOf(0))).toEqual(before)
    await list.remove('ours')
    expect(await ids()).toEqual([])
    expect(await storage.get(keyOf(0))).toEqual(before)
  })
})

it.each([[null], [undefined], ['text'], [{ entries: [] }], [{ owner: OWNER, entries: 'none' }]])(
  'a record that holds %j is none of the list',
  (value) => expect(deletionsIn({ value, version: '1' })).toBeUndefined(),
)
