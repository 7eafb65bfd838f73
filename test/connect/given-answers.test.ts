import { expect, it } from 'vitest'
import { createFlowCookies } from '../../src/connect/cookies.js'
import { createGivenAnswers } from '../../src/connect/given-answers.js'
import { randomSecret } from '../../src/connect/one-time.js'
import { opened, OWNER } from '../grants/opened.js'

it('a step of an answer that is not there, or of none, is noted nowhere', async () => {
  const { records, clock, calls } = opened()
  const answers = createGivenAnswers({ records, owner: OWNER, clock, cookies: createFlowCookies(true) })

  await answers.note(randomSecret(), { connected: true })
  expect(calls).toEqual(['get'])
  await answers.note(undefined, { connected: true })
  expect(calls).toEqual(['get'])
})
