import { afterAll, beforeAll, expect, it } from 'vitest'
import { manualClock } from '../support/clock.js'
import { arrange, beforehand, settle } from '../support/recordings/arrange.js'
import { setUpBed, type Bed } from '../support/recordings/bed.js'
import { comparable } from '../support/recordings/compare.js'
import { requestOf } from '../support/recordings/credentials.js'
import { readRecordings } from '../support/recordings/recorded.js'

let bed: Bed

beforeAll(async () => {
  bed = await setUpBed(manualClock())
  beforehand(bed)
})
afterAll(async () => {
  await bed.nextcloud.close()
  await bed.as.close()
})

it.each(readRecordings().map((exchange) => [exchange.id, exchange] as const))(
  '%s: as Nextcloud answers',
  async (_id, exchange) => {
    settle(bed)
    const request = await requestOf(bed, exchange)
    arrange(bed, exchange)

    const answer = await bed.send(request)

    const [expected, actual] = comparable(exchange.answer, answer)
    expect(actual).toEqual(expected)
  },
)
