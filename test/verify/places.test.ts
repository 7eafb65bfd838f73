import { expect, it } from 'vitest'
import { createPlaces } from '../../src/verify/places.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'

it('a place that is given back twice is one place', async () => {
  const places = createPlaces(manualClock(), 1, 5_000)
  const leave = await places.take(undefined)
  leave()
  leave()
  await places.take(undefined)
  let entered = false
  void places.take(undefined).then(() => (entered = true))

  await turn()

  expect(entered).toBe(false)
})
