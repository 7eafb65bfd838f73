import { expect, it } from 'vitest'
import type { FreshToken, Have, Mode } from '../../src/broker/modes/mode.js'
import { createTokenCache } from '../../src/broker/token-cache.js'
import { createTokenReports } from '../../src/broker/token-reports.js'
import { createTokenRequests } from '../../src/broker/token-requests.js'
import { createEvents } from '../../src/events.js'
import type { Secret } from '../../src/nextcloud/credential.js'
import { createUnderWay } from '../../src/under-way.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'

const CALLER = {
  token: 'mcp-token',
  identity: { issuer: 'https://idp.example', subject: 'alice' },
  clientId: 'mcp-client',
  audience: [],
  expiresAt: Infinity,
}
const TARGET = { audience: [], resource: [], scopes: [] }
const bearer = (token: string): Secret => ({ scheme: 'Bearer', token })
const freshOf = (token: string): FreshToken => ({
  secret: bearer(token),
  expiresIn: 300,
  sentAt: 0,
  source: 'store',
  basis: { version: '1', consent: { clients: ['mcp-client'], withdrawals: undefined }, checkedAt: 0 },
})

/** Requests that are answered one by one, in the order in which they came. */
function setUp() {
  const clock = manualClock()
  const reports = createTokenReports(
    'refresh-token',
    createEvents(() => undefined, clock),
  )
  const entries = createTokenCache(10, () => undefined)
  const asked: { readonly have: Have; readonly answer: (token: string) => void }[] = []
  const mode: Mode = {
    getFreshToken: ({ have }) =>
      new Promise((resolve) => asked.push({ have, answer: (token) => resolve(freshOf(token)) })),
    boundToMcpToken: false,
    renewBefore: 0,
    margin: 0,
  }
  const underWay = createUnderWay()
  const requests = createTokenRequests({ mode, entries, reports, clockTolerance: 0, clock, underWay })
  const fetch = async (have: Have = {}) => {
    const { secret } = await requests.fetch({ key: 'key', caller: CALLER, target: TARGET, have })
    return (secret as Secret & { readonly token: string }).token
  }
  return { asked, fetch, requests, entries, underWay }
}

it('a caller whose token was refused asks once more where the request that it joined ends with that token', async () => {
  const { asked, fetch } = setUp()
  const first = fetch()
  await turn()
  const refused = { force: true, notThis: bearer('refused') }
  const joined = [fetch(refused), fetch(refused), fetch({ notThis: bearer('another') })]
  await turn()
  expect(asked).toHaveLength(1)

  asked[0]?.answer('refused')
  await turn()

  expect(await first).toBe('refused')
  expect(await joined[2]).toBe('refused')
  expect(asked.map(({ have }) => have)).toEqual([{}, refused])
  asked[1]?.answer('new')
  expect(await Promise.all(joined.slice(0, 2))).toEqual(['new', 'new'])
})

it('and no more than once: the same token again is all that there is', async () => {
  const { asked, fetch } = setUp()
  const first = fetch()
  await turn()
  const joined = Array.from({ length: 3 }, () => fetch({ force: true, notThis: bearer('the only one') }))
  await turn()

  for (let answers = 0; answers < 2; answers += 1) {
    asked[answers]?.answer('the only one')
    await turn()
  }

  expect(await Promise.all([first, ...joined])).toEqual(Array.from({ length: 4 }, () => 'the only one'))
  expect(asked).toHaveLength(2)
})

it('requests under way are over before they are settled, those that wait for another one included', async () => {
  const { asked, fetch, underWay } = setUp()
  let settled = false
  void fetch()
  await turn()
  void fetch({ force: true, notThis: bearer('refused') })
  void underWay.quiet().then(() => (settled = true))
  asked[0]?.answer('refused')
  await turn()
  expect(settled).toBe(false)

  asked[1]?.answer('new')
  await turn()
  expect(settled).toBe(true)
})

it.each([
  ['before it began', 0],
  ['while it was under way', -Infinity],
] as const)(
  'a token is checked again before it is served, where a grant has changed while it was under way: %s',
  async (when, checkedAt) => {
    const { asked, fetch, requests, entries } = setUp()
    if (when === 'before it began') requests.doubt()
    const token = fetch()
    await turn()
    if (when !== 'before it began') requests.doubt()
    asked[0]?.answer('fresh')
    await token

    expect(entries.get('key')?.basis).toMatchObject({ checkedAt })
  },
)
