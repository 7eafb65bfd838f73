import { afterAll, beforeAll, expect, it } from 'vitest'
import { serveNextcloud, type NextcloudServer } from '../../src/testing/nextcloud/server.js'
import { manualClock } from '../support/clock.js'
import { arrange, beforehand, settle } from '../support/recordings/arrange.js'
import { send, setUpBed, type Bed } from '../support/recordings/bed.js'
import { comparable } from '../support/recordings/compare.js'
import { requestOf } from '../support/recordings/credentials.js'
import { readRecordings, type Exchange } from '../support/recordings/recorded.js'

/** The paths that the fake has. */
const PATHS = /^\/(?:ocs\/|remote\.php\/|status\.php|(?:index\.php\/)?apps\/notes\/)/
/** What an operator does, and what stands before a Nextcloud. */
const OUTSIDE = /maintenance|an upgrade is due|evil\.example\.net/

const isHeld = ({ request, given, answer }: Exchange): boolean =>
  PATHS.test(request.path) && !OUTSIDE.test(given) && answer.status !== 301

const held = readRecordings().filter(isHeld)

let bed: Bed
let fake: NextcloudServer

beforeAll(async () => {
  bed = await setUpBed(manualClock())
  beforehand(bed)
  fake = await serveNextcloud(bed.nextcloud.state)
})
afterAll(() => Promise.all([fake.close(), bed.nextcloud.close(), bed.as.close()]))

it('is held to most recordings of its paths, refusals included', () => {
  const statuses = new Set(held.map(({ answer }) => answer.status))
  expect(held.length).toBeGreaterThan(350)
  expect([...statuses]).toEqual(expect.arrayContaining([200, 201, 204, 207, 401, 403, 404, 409, 412, 423, 429, 507]))
})

it.each(held.map((exchange) => [exchange.id, exchange] as const))('%s: as Nextcloud answers', async (_id, exchange) => {
  settle(bed)
  const request = await requestOf(bed, exchange)
  arrange(bed, exchange)

  const [expected, actual] = comparable(exchange.answer, await send(fake.url, request))

  expect(actual).toEqual(expected)
})
