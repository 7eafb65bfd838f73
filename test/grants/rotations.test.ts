import { describe, expect, it, vi } from 'vitest'
import { ConfigurationError, StorageError } from '../../src/errors/errors.js'
import type { Grant } from '../../src/grants/grant.js'
import { createRotations, type Rotation } from '../../src/grants/rotations.js'
import { ALICE, opened } from './opened.js'

const PATIENCE = 5_000

/** A grant whose first refresh token was spent for a second one, which is to be stored. */
async function open() {
  const setup = opened()
  const { store, key, clock } = setup
  await setup.connect()
  const { grant, version } = (await store.read(key))!
  const next: Grant = { ...grant, refreshToken: 'second', fingerprint: 'second' }
  const rotation: Rotation = { key, identity: ALICE, grant: next, spent: 'first', expected: version }
  const change = async (to: Partial<Grant>) => {
    const present = (await store.read(key))!
    await store.write(key, { ...present.grant, ...to }, present.version)
  }
  const reported: Rotation[] = []
  const onStored = (stored: Rotation): unknown => reported.push(stored)
  const late: Rotation[] = []
  const onLate = (one: Rotation): Promise<unknown> => Promise.resolve(late.push(one))
  const rotations = createRotations({ store, clock, patience: PATIENCE, onStored, onLate })
  return { ...setup, rotations, rotation, change, reported, late }
}

describe('a new refresh token', () => {
  it.each<[when: string, change: Partial<Grant>]>([
    ['', {}],
    [
      ', also where another instance has marked the spent token meanwhile',
      { state: 'presented', presentedBy: 'another' },
    ],
    [
      ', also where another instance had the spent token refused meanwhile',
      { state: 'needs-reconnect', refreshToken: undefined as never },
    ],
  ])('takes the place of the one that was spent for it%s', async (_when, to) => {
    const { rotations, rotation, stored, change } = await open()
    await change(to)

    expect(await rotations.write(rotation)).toMatchObject({
      grant: rotation.grant,
      version: expect.any(String) as string,
    })

    expect(await stored()).toEqual(rotation.grant)
  })

  it('brings back no consent that was taken away meanwhile, and takes away none that was given', async () => {
    const { rotations, rotation, stored, change } = await open()
    await change({ clients: ['client-2'] })

    expect(await rotations.write(rotation)).toMatchObject({ grant: { clients: ['client-2'] } })

    expect(await stored()).toEqual({ ...rotation.grant, clients: ['client-2'] })
  })

  it.each<[what: string, moveOn: (setup: Awaited<ReturnType<typeof open>>) => Promise<unknown>]>([
    ['bring back a connection that was ended meanwhile', ({ store }) => store.disconnect(ALICE, undefined)],
    ['take the place of a newer connection, even with the same refresh token', ({ connect }) => connect('first')],
    [
      'take the place of one that another instance has got since',
      ({ change }) => change({ refreshToken: 'third', fingerprint: 'third' }),
    ],
  ])('does not %s', async (_what, moveOn) => {
    const setup = await open()
    await moveOn(setup)
    const present = await setup.stored()

    expect(await setup.rotations.write(setup.rotation)).toBeUndefined()

    expect(await setup.stored()).toEqual(present)
    // Where another token of the same connection is stored, this one is left alone.
    expect(setup.late).toEqual(present?.generation === 1 ? [] : [setup.rotation])
  })

  it('is there when an attempt that seemed to fail was carried out', async () => {
    const { rotations, rotation, storage, stored, calls } = await open()
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      await put(...args)
      throw new Error('The connection broke behind it')
    })
    calls.length = 0

    expect(await rotations.write(rotation)).toMatchObject({ grant: rotation.grant })

    // The one that was carried out, the one that found it, and the look at what is there.
    expect(calls).toEqual(['put', 'put', 'get'])
    expect(await stored()).toEqual(rotation.grant)
  })

  it.each<[name: string, present: Partial<Grant>]>([
    ['the access token of before', { accessToken: { token: 'of before', sentAt: 0 } }],
    ['a mark', { state: 'presented', presentedBy: 'another' }],
  ])('that the server did not rotate is stored with its access token in the place of %s', async (_name, present) => {
    const { rotations, rotation, stored, change } = await open()
    const accessToken = present.accessToken && { token: 'new', sentAt: 1 }
    const { grant } = rotation
    const next: Grant = { ...grant, refreshToken: 'first', fingerprint: 'first', ...(accessToken && { accessToken }) }
    await change(present)

    await rotations.write({ ...rotation, grant: next })

    expect(await stored()).toEqual(next)
  })
})

/** The store has taken neither the rotation of a connection nor that of the next. */
async function twoUnstored() {
  const setup = await open()
  const { rotations, rotation, connect, store, failing } = setup
  await connect('of another sign-in')
  const { grant, version } = (await store.read(rotation.key))!
  const next = { ...grant, refreshToken: 'third', fingerprint: 'third' }
  const newer: Rotation = { ...rotation, grant: next, spent: grant.fingerprint, expected: version }
  failing.add('put')
  for (const one of [rotation, newer]) await expect(rotations.write(one)).rejects.toThrow(StorageError)
  failing.clear()
  return { ...setup, next, newer }
}

describe('a store that fails', () => {
  it('is tried again for as long as a caller may wait, ever more seldom', async () => {
    const { rotations, rotation, clock, failing, calls } = await open()
    failing.add('put')
    calls.length = 0

    await expect(rotations.write(rotation)).rejects.toThrow(StorageError)

    expect(clock.pauses).toEqual([50, 100, 200, 400, 800, 1_000, 1_000, 1_000])
    expect(calls).toHaveLength(9)
  })

  it('gets the new token later, also where it was not set up, which is told', async () => {
    const { rotations, rotation, storage, stored } = await open()
    const missing = new ConfigurationError('The table is not there')
    vi.spyOn(storage, 'put').mockRejectedValueOnce(missing)

    await expect(rotations.write(rotation)).rejects.toBe(missing)
    await rotations.flush(rotation.key)

    expect(await stored()).toEqual(rotation.grant)
  })

  it('is told of a token once it is there, and once only, whoever writes it', async () => {
    const { rotations, rotation, failing, reported } = await open()
    failing.add('put')
    await expect(rotations.write(rotation)).rejects.toThrow(StorageError)
    expect(reported).toEqual([])
    failing.clear()

    await Promise.all([rotations.flush(rotation.key), rotations.flush(rotation.key), rotations.settle()])

    expect(reported).toEqual([rotation])
  })

  it('reports no token that came too late, which is handed on to be ended', async () => {
    const { rotations, rotation, failing, reported, late, store } = await open()
    failing.add('put')
    await expect(rotations.write(rotation)).rejects.toThrow(StorageError)
    failing.clear()
    await store.disconnect(ALICE, undefined)

    await rotations.flush(rotation.key)

    expect(reported).toEqual([])
    expect(late).toEqual([rotation])
  })

  it('gets nothing that was dropped, which is handed to whoever drops it', async () => {
    const { rotations, rotation, failing, stored } = await open()
    failing.add('put')
    await expect(rotations.write(rotation)).rejects.toThrow(StorageError)

    expect(rotations.drop(rotation.key, Infinity)).toEqual([rotation])
    failing.clear()
    await rotations.settle()

    expect(await stored()).toMatchObject({ refreshToken: 'first' })
  })

  it('gets the token of a connection that is later than the one whose end dropped others', async () => {
    const { rotations, rotation, next, stored, late } = await twoUnstored()

    expect(rotations.drop(rotation.key, rotation.grant.generation)).toEqual([rotation])
    await rotations.flush(rotation.key)

    expect(await stored()).toEqual(next)
    expect(late).toEqual([])
  })

  it.each([
    ['is brought a token beside that of the connection before, which is handed on to be ended', false],
    ['brings once what is brought', false, true],
    ['leaves both to whoever drops them', true],
    ['leaves to whoever drops them what is not over yet', true, true],
  ])('%s', async (_what, isDropped, isOneOver = false) => {
    const { rotations, rotation, newer, next, store, stored, reported, late } = await twoUnstored()

    if (isOneOver) {
      const { write } = store
      vi.spyOn(store, 'write').mockImplementationOnce(write).mockRejectedValueOnce(new StorageError('unavailable'))
      await expect(rotations.flush(rotation.key)).rejects.toThrow(StorageError)
    }
    if (isDropped) {
      expect(rotations.drop(rotation.key, Infinity)).toEqual(isOneOver ? [rotation] : [newer, rotation])
      return expect(rotations.drop(rotation.key, Infinity)).toEqual([])
    }
    await rotations.flush(rotation.key)

    expect(reported).toEqual([newer])
    expect(late).toEqual([rotation])
    expect(await stored()).toEqual(next)
    expect(rotations.drop(rotation.key, Infinity)).toEqual([])
  })

  it('hands nothing on that was dropped while it was written', async () => {
    const { rotations, rotation, failing, store, late } = await open()
    failing.add('put')
    await expect(rotations.write(rotation)).rejects.toThrow(StorageError)
    failing.clear()
    let answer = (): void => undefined
    vi.spyOn(store, 'write').mockReturnValueOnce(new Promise((resolve) => (answer = () => resolve(null))))
    const writing = rotations.flush(rotation.key)
    await store.disconnect(ALICE, undefined)

    expect(rotations.drop(rotation.key, Infinity)).toEqual([rotation])
    answer()
    await writing

    expect(late).toEqual([])
  })

  it.each([
    ['of a connection that has ended', false],
    ['of one that only another key opens', true],
  ])('keeps a token that could not be handed on: %s', async (_what, isSealed) => {
    const { rotation, store, storage, clock, failing, late } = await open()
    const onLate = vi.fn((one: Rotation) => Promise.resolve(late.push(one)))
    const rotations = createRotations({ store, clock, patience: 0, onStored: () => undefined, onLate })
    if (isSealed) await storage.put(rotation.key, 'sealed by another instance', rotation.expected)
    else await store.disconnect(ALICE, undefined)
    onLate.mockRejectedValueOnce(new StorageError('unavailable')).mockRejectedValueOnce(new StorageError('unavailable'))

    for (const attempt of [() => rotations.write(rotation), () => rotations.flush(rotation.key)])
      await expect(attempt()).rejects.toThrow(StorageError)
    await rotations.flush(rotation.key)

    expect([failing.size, late]).toEqual([0, [rotation]])
    expect(rotations.drop(rotation.key, Infinity)).toEqual([])
  })

  it('is not sent a token in place of what only another key opens', async () => {
    const { rotations, rotation, memory, failing, late } = await open()
    failing.add('put')
    await expect(rotations.write(rotation)).rejects.toThrow(StorageError)
    failing.clear()
    expect(late).toEqual([])
    const { version } = (await memory.get(rotation.key))!
    await memory.put(rotation.key, 'sealed by another instance', version)

    await rotations.flush(rotation.key)
    expect(late).toEqual([rotation])
    expect(rotations.drop(rotation.key, Infinity)).toEqual([])
    await expect(rotations.write(rotation)).rejects.toMatchObject({ code: 'ERR_STORAGE_SEALED' })
    expect(late).toEqual([rotation])
    expect(rotations.drop(rotation.key, Infinity)).toEqual([])

    expect(await memory.get(rotation.key)).toMatchObject({ value: 'sealed by another instance' })
  })
})
