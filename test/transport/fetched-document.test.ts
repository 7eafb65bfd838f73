import { beforeEach, describe, expect, it, vi } from 'vitest'
import { createFetchedDocument, type FetchedDocument } from '../../src/transport/fetched-document.js'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { manualClock, type ManualClock } from '../support/clock.js'

let clock: ManualClock
let fetchDocument: ReturnType<typeof vi.fn<() => Promise<string>>>
let kept: FetchedDocument<string>

beforeEach(() => {
  clock = manualClock()
  fetchDocument = vi.fn(() => Promise.resolve('document'))
  kept = createFetchedDocument(fetchDocument, clock)
})

const outage = (retryAfter?: number): Promise<string> =>
  Promise.reject(new UpstreamUnavailableError('unavailable', { statedRetryAfter: retryAfter }))

it('is fetched when it is asked for, and then known with its time', async () => {
  expect([fetchDocument.mock.calls, kept.known(), kept.refreshing()]).toEqual([[], undefined, false])

  clock.advance(500)
  expect(await kept.refresh()).toBe('document')
  expect(kept.known()).toEqual({ value: 'document', fetchedAt: 500 })
})

it('is as old as the question, however long the answer took to be read', async () => {
  fetchDocument.mockImplementationOnce(() => {
    clock.advance(60_000)
    return Promise.resolve('document')
  })
  await kept.refresh()
  expect(kept.known()).toEqual({ value: 'document', fetchedAt: 0 })
})

it('concurrent calls share one fetch, and later ones make another', async () => {
  const both = [kept.refresh(), kept.refresh()]
  expect(kept.refreshing()).toBe(true)
  expect(await Promise.all(both)).toEqual(['document', 'document'])
  expect(fetchDocument).toHaveBeenCalledTimes(1)
  expect(kept.refreshing()).toBe(false)

  await kept.refresh()
  expect(fetchDocument).toHaveBeenCalledTimes(2)
})

describe('a failure', () => {
  it('is told to all who wait, leaves what was known, and starts the cool-down', async () => {
    await kept.refresh()
    fetchDocument.mockImplementationOnce(() => outage())

    for (const call of await Promise.allSettled([kept.refresh(), kept.refresh()])) {
      expect(call).toMatchObject({ status: 'rejected', reason: { status: 503, retryAfter: 1 } })
    }
    expect(kept.known()?.value).toBe('document')
    expect([kept.coolDown.active(), kept.coolDown.failing()]).toEqual([true, true])
    expect(() => kept.coolDown.check()).toThrow(expect.objectContaining({ detail: 'unavailable' }))
    expect(kept.refreshing()).toBe(false)
  })

  it("heeds the server's Retry-After for a minute at the most", async () => {
    fetchDocument.mockImplementationOnce(() => outage(59)).mockImplementationOnce(() => outage(3_600))

    await expect(kept.refresh()).rejects.toMatchObject({ retryAfter: 59 })
    await expect(kept.refresh()).rejects.toMatchObject({ retryAfter: 60 })
  })

  it('is forgotten with the first success', async () => {
    fetchDocument.mockImplementationOnce(() => outage()).mockImplementationOnce(() => outage())
    await expect(kept.refresh()).rejects.toMatchObject({ retryAfter: 1 })
    await expect(kept.refresh()).rejects.toMatchObject({ retryAfter: 2 })
    await kept.refresh()
    expect([kept.coolDown.active(), kept.coolDown.failing()]).toEqual([false, false])

    fetchDocument.mockImplementationOnce(() => outage())
    await expect(kept.refresh()).rejects.toMatchObject({ retryAfter: 1 })
  })
})
