import { expect, it } from 'vitest'
import { createLines } from '../../src/nextcloud/lines.js'
import { createSignIns } from '../../src/nextcloud/sign-ins.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'

const ALICE = { issuer: 'https://idp.example', subject: 'alice' }

it('a request that took too long gives no place back a second time when it ends', async () => {
  const clock = manualClock()
  const line = createLines(clock, createSignIns(clock))('app-password')
  const slow = await line.enter(ALICE)
  const entered: number[] = []
  void Promise.resolve(line.enter(ALICE)).then((turnOf) => entered.push(turnOf))
  void Promise.resolve(line.enter(ALICE)).then((turnOf) => entered.push(turnOf))

  clock.advance(5_000)
  await turn()
  expect(entered).toHaveLength(1)
  line.leave(slow)
  await turn()

  expect(entered).toHaveLength(1)
  line.leave(entered[0]!)
  await turn()
  expect(entered).toHaveLength(2)
})
