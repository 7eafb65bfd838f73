import { expect, it } from 'vitest'
import { turn } from './support/promises.js'
import { createUnderWay } from '../src/under-way.js'

const LONG = 60_000

it('close() waits for what begins until the very end', async () => {
  const underWay = createUnderWay()
  let settle = (): void => undefined
  let finish = (): void => undefined
  let isClosed = false
  const closing = underWay.close(LONG, new Promise<void>((resolve) => (settle = resolve))).then(() => (isClosed = true))
  void underWay.track(new Promise<void>((resolve) => (finish = resolve)))

  settle()
  await turn()
  expect([isClosed, underWay.isEnding()]).toEqual([false, true])
  finish()
  await closing
})

it('the process is ending in the second half of the time, also where no timer had its turn', async () => {
  const underWay = createUnderWay()
  const closing = underWay.close(100, new Promise(() => undefined))
  expect(underWay.isEnding()).toBe(false)

  const from = performance.now()
  while (performance.now() - from < 60);

  expect(underWay.isEnding()).toBe(true)
  await closing
})

it('work that fails is over, and what is settled badly ends it, too', async () => {
  const underWay = createUnderWay()
  underWay.track(Promise.reject(new Error('no'))).catch(() => undefined)
  await underWay.quiet()

  await expect(underWay.close(LONG, Promise.reject(new Error('not settled')))).rejects.toThrow('not settled')

  expect(underWay.isEnding()).toBe(true)
})
