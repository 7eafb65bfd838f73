import { setImmediate } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { createWriteBehind } from '../../src/grants/write-behind.js'
import { manualClock } from '../support/clock.js'

/** Keeps values whose writes fail for the keys in `down`, and otherwise are noted. */
function open() {
  const clock = manualClock()
  const down = new Set<string>()
  const tried: string[] = []
  const written: string[] = []
  const write = vi.fn((value: string, key: string) => {
    tried.push(key)
    if (down.has(key) || down.has('all')) return Promise.reject(new Error('unavailable'))
    return Promise.resolve(written.push(value))
  })
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms)
    await setImmediate()
  }
  const givenUp: string[] = []
  const giveUp = (value: string, key: string): void => void givenUp.push(`${key}: ${value}`)
  return { ...createWriteBehind(write, giveUp, clock), givenUp, clock, down, tried, written, write, pass }
}

it('writes a value half a second after the store works again at the latest, and once', async () => {
  const { keep, flush, settle, down, tried, written, pass, clock } = open()
  down.add('all')
  keep('key', 'value')
  for (let seconds = 0; seconds < 60; seconds += 1) await pass(1_000)
  down.clear()

  await pass(500)
  expect(written).toEqual(['value'])

  tried.length = 0
  const after = vi.spyOn(clock, 'after')
  await pass(10_000)
  await flush('key')
  await settle()
  expect(tried).toEqual([])
  expect(after).not.toHaveBeenCalled()
})

it('keeps a value whose write fails, and tells only the caller who asked for it', async () => {
  const { keep, get, flush, settle, down, pass } = open()
  down.add('all')
  keep('key', 'value')

  await expect(flush('key')).rejects.toThrow('unavailable')
  await settle()
  await pass(500)

  expect(get('key')).toBe('value')
})

it('goes on for a time at the end of a process, until the store works again', async () => {
  const { keep, get, settle, down, tried, clock } = open()
  const sleep = vi.spyOn(clock, 'sleep').mockImplementation((ms) => {
    clock.advance(ms)
    if (clock.monotonic() >= 2_000) down.clear()
    return Promise.resolve()
  })
  down.add('all')
  keep('key', 'value')
  await settle(clock.monotonic() + 5_000)
  expect(get('key')).toBeUndefined()

  down.add('all')
  keep('key', 'another')
  sleep.mockImplementation((ms) => Promise.resolve(clock.advance(ms)))
  tried.length = 0
  await settle(clock.monotonic() + 2_000)
  expect(get('key')).toBe('another')
  expect(tried.length).toBeGreaterThan(3)
})

it('writes the values of all other keys while one stays unavailable', async () => {
  const { keep, get, settle, down, written } = open()
  down.add('a')
  for (const key of ['a', 'b', 'c', 'd', 'e']) keep(key, key)

  await settle()

  expect(written).toEqual(['b', 'c', 'd', 'e'])
  expect(get('a')).toBe('a')
})

it('tries three in a row that fail at most in the background, those that failed last of all, and every one at the end', async () => {
  const { keep, settle, down, tried, pass } = open()
  down.add('all')
  for (const key of ['a', 'b', 'c', 'd', 'e']) keep(key, key)

  await pass(500)
  expect(tried).toEqual(['a', 'b', 'c'])
  await pass(500)
  expect(tried.slice(3)).toEqual(['d', 'e', 'a'])
  await settle()
  expect(tried.slice(6)).toEqual(['b', 'c', 'd', 'e', 'a'])
})

it('writes nothing that was dropped', async () => {
  const { keep, drop, settle, written } = open()
  keep('key', 'value')

  expect(drop('key')).toBe('value')
  expect(drop('key')).toBeUndefined()
  await settle()

  expect(written).toEqual([])
})

it('keeps a value that came while an older one was being written', async () => {
  const { keep, get, flush, write } = open()
  keep('key', 'old')
  write.mockImplementationOnce(() => {
    keep('key', 'new')
    return Promise.resolve(0)
  })

  await flush('key')

  expect(get('key')).toBe('new')
})

it('keeps 10,000 values, and gives up the oldest for one more, but none for a newer value of a key', () => {
  const { keep, get, givenUp } = open()
  for (let count = 0; count < 10_000; count += 1) keep(`${count}`, 'value')
  keep('5', 'newer')
  expect(givenUp).toEqual([])

  keep('10000', 'value')

  expect(givenUp).toEqual(['0: value'])
  expect(get('0')).toBeUndefined()
  expect(get('1')).toBe('value')
  expect(get('10000')).toBe('value')
})

it('leaves a newer value alone when the write of the older one fails', async () => {
  const { keep, get, end, settle, write, givenUp, written } = open()
  const renewed = (key: string) => () => {
    keep(key, 'newer')
    return Promise.reject(new Error('unavailable'))
  }
  write.mockImplementationOnce(renewed('key'))
  keep('key', 'older')
  await settle()
  expect([get('key'), givenUp]).toEqual(['newer', []])
  await settle()
  expect([get('key'), written]).toEqual([undefined, ['newer']])

  write.mockImplementationOnce(renewed('last'))
  keep('last', 'older')
  await end()
  expect([get('last'), givenUp]).toEqual(['newer', []])
})
