import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { askApp, checkSubjects, whoIsThere, type Evidence, type WhoIsThere } from '../../src/connect/who-is-there.js'
import { createEvents } from '../../src/events.js'
import { manualClock } from '../support/clock.js'

const REQUEST = new IncomingMessage(new Socket())
const ISSUER = 'https://idp.example'
const ALICE = { issuer: ISSUER, subject: 'alice' }
const BOB = { issuer: ISSUER, subject: 'bob' }
const PAIRWISE = { issuer: ISSUER, subject: 'pairwise-8f31' }
const ELSEWHERE = { issuer: 'https://other.example', subject: 'alice' }

describe('who is at the browser', () => {
  it.each<[Evidence['appSays'], Evidence['idToken'], hasIdToken: boolean, types: string[] | undefined, WhoIsThere]>([
    // Without a sign-in of the app, the ID token decides.
    [undefined, ALICE, true, undefined, 'the same'],
    [undefined, ALICE, true, ['public'], 'the same'],
    [undefined, ALICE, true, ['pairwise', 'public'], 'the same'],
    [undefined, BOB, true, undefined, 'another person'],
    [undefined, ELSEWHERE, true, undefined, 'another person'],
    [undefined, 'none', true, undefined, 'bad ID token'],
    [undefined, 'bad', true, undefined, 'bad ID token'],
    [undefined, 'none', false, undefined, 'cannot tell'],
    // The app's sign-in needs no ID token. One that is there must be valid, and with public subjects the same person's.
    [true, 'none', true, undefined, 'the same'],
    [true, 'none', false, undefined, 'the same'],
    [true, 'bad', true, undefined, 'bad ID token'],
    [true, PAIRWISE, true, ['pairwise'], 'the same'],
    [true, PAIRWISE, true, undefined, 'the same'],
    [true, PAIRWISE, true, [], 'the same'],
    [true, PAIRWISE, true, ['pairwise', 'public'], 'the same'],
    [true, ALICE, true, ['public'], 'the same'],
    [true, BOB, true, ['public'], 'another person'],
    [true, ELSEWHERE, true, ['public'], 'the same'],
    [false, ALICE, true, ['public'], 'another person'],
    [false, 'none', false, undefined, 'another person'],
  ])('app %s, ID token %j (expected: %s), subjects %j: %s', (appSays, idToken, hasIdToken, types, who) => {
    const as = { subject_types_supported: types }

    expect(whoIsThere({ expected: ALICE, appSays, idToken, hasIdToken, as })).toBe(who)
  })
})

describe('a server of which no ID token can tell', () => {
  const check = (types: string[] | undefined, authenticateBrowser?: () => Promise<undefined>) => {
    const warnings: unknown[] = []
    const events = createEvents((event) => warnings.push(event), manualClock())
    const rooms = { connect: { authenticateBrowser }, events } as Parameters<typeof checkSubjects>[0]
    try {
      checkSubjects(rooms, types === undefined ? {} : { subject_types_supported: types })
      return [undefined, warnings]
    } catch (error) {
      return [error, warnings]
    }
  }

  it('has pairwise subjects only: it is refused, with a warning for the operator', () => {
    const option = 'connect.authenticateBrowser'
    const [error, warnings] = check(['pairwise'])

    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION', option })
    expect(warnings).toEqual([expect.objectContaining({ type: 'config.warning', option })])
  })

  it.each([[undefined], [[]], [['public']], [['pairwise', 'public']]])('is none with subjects %j', (types) => {
    expect(check(types)).toEqual([undefined, []])
  })

  it("does no harm where the app's own sign-in tells", () => {
    expect(check(['pairwise'], () => Promise.resolve(undefined))).toEqual([undefined, []])
  })
})

describe("the app's own sign-in", () => {
  it.each([
    [ALICE, true],
    [BOB, false],
    [ELSEWHERE, false],
    [undefined, false],
  ])('that names %j says of Alice: %s', async (person, says) => {
    const connect = { authenticateBrowser: () => Promise.resolve(person) }

    expect(await askApp({ connect }, REQUEST, ALICE)).toBe(says)
  })

  it('is not asked if there is none', async () => {
    expect(await askApp({ connect: { authenticateBrowser: undefined } }, REQUEST, ALICE)).toBeUndefined()
  })
})
