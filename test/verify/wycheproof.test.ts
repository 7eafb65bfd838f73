import { readFileSync } from 'node:fs'
import { compactVerify, type JWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDiscovery } from '../../src/authorization-server/discovery.js'
import { createTransport } from '../../src/transport/transport.js'
import { readConfig } from '../../src/config/read-config.js'
import { InvalidTokenError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { createIssuerKeys } from '../../src/verify/keys.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

interface Vector {
  readonly tcId: number
  readonly comment: string
  readonly jws: string
  readonly result: 'valid' | 'invalid'
}
interface Group {
  readonly comment: string
  /** Missing where the key is a secret. */
  readonly public?: JWK
  readonly private: JWK
  readonly tests: readonly Vector[]
}

const file = new URL('../vectors/json_web_signature_test.json', import.meta.url)
const { numberOfTests, testGroups } = JSON.parse(readFileSync(file, 'utf8')) as {
  numberOfTests: number
  testGroups: readonly Group[]
}

/**
 * Valid vectors that are refused here, on purpose: the key says that it is for another algorithm than the one in the token
 * (RFC 7517 §4.4). For two of them that is PS256 instead of PS384, for the other two a mistyped ES512.
 */
const KEY_FOR_ANOTHER_ALGORITHM = [346, 347, 350, 351]
/** Valid vectors that are refused here, on purpose: HS256, with which every holder of the key could sign. */
const SYMMETRIC = [1, 348, 352, 357, 358, 359, 372, 373, 376, 377]
/** Those of them that are refused before their algorithm is read: there is a character in them that no token has. */
const MALFORMED = [372, 373]

let bed: World
beforeAll(async () => {
  bed = await world({ mode: 'none' })
})
afterAll(() => bed.close())

interface Judge {
  /** What the verifier's keys and algorithms make of the signature, whatever the payload is. */
  readonly signature: (jws: string) => Promise<'accepted' | 'refused'>
  /** Why the verifier refuses the token, which it always does: no vector has the claims of an access token. */
  readonly reason: (jws: string) => Promise<string>
}

/** Publishes one key, and tells what then becomes of a token. */
function judge(key: JWK): Judge {
  const { as, clock } = bed
  const publish = (): void => void as.keys.splice(0, as.keys.length, key)
  const config = readConfig({ issuer: as.issuer, resource: RESOURCE }, {})
  const transport = createTransport(config.http, clock, createEvents(undefined, clock))
  const keys = createIssuerKeys({
    discovery: createDiscovery(config, transport, clock),
    transport,
    clock,
    cache: { ...config.cache, staleKeys: 0 },
    clockTolerance: config.clockTolerance,
  })
  const auth = bed.open()
  return {
    async signature(jws) {
      publish()
      const options = { algorithms: [...config.algorithms] }
      return compactVerify(jws, keys.key, options).then(
        () => 'accepted',
        () => 'refused',
      )
    },
    async reason(jws) {
      publish()
      const failure: unknown = await auth.verify(jws).then(
        () => 'not refused',
        (error: unknown) => error,
      )
      return failure instanceof InvalidTokenError ? failure.reason : String(failure)
    },
  }
}

function forAnyAlgorithm(key: JWK): JWK {
  const rest = { ...key }
  delete rest.alg
  return rest
}

/** The signed bytes with another signature, one bit away. */
function spoiled(jws: string): string {
  const end = jws.lastIndexOf('.') + 1
  const signature = Buffer.from(jws.slice(end), 'base64url')
  signature[0]! ^= 1
  return jws.slice(0, end) + signature.toString('base64url')
}

let run = 0

describe.each(testGroups.map((group, index) => ({ name: `${index}, ${group.comment}`, group })))(
  'of group $name,',
  ({ group }) => {
    const key = group.public ?? group.private
    let published: Judge
    beforeAll(() => {
      published = judge(key)
    })

    it.each(group.tests)('vector $tcId ($result): $comment', async ({ tcId, result, jws }) => {
      run += 1
      if (result === 'invalid') {
        expect(await published.signature(jws)).toBe('refused')
        expect(await published.reason(jws)).toMatch(/^(?:signature|algorithm|key|malformed|opaque)$/)
      } else if (SYMMETRIC.includes(tcId)) {
        expect(await published.signature(jws)).toBe('refused')
        expect(await published.reason(jws)).toBe(MALFORMED.includes(tcId) ? 'malformed' : 'algorithm')
      } else if (KEY_FOR_ANOTHER_ALGORITHM.includes(tcId)) {
        expect(await published.signature(jws)).toBe('refused')
        expect(await published.reason(jws)).toBe('key')
        expect(await judge(forAnyAlgorithm(key)).signature(jws)).toBe('accepted')
      } else {
        expect(await published.signature(jws)).toBe('accepted')
        // The payload is no claims set. That it is not this that a bad signature is refused for shows the order of the two.
        expect(await published.reason(jws)).toBe('malformed')
        expect(await published.reason(spoiled(jws))).toBe('signature')
      }
    })
  },
)

it('every vector of the file was run', () => {
  expect(run).toBe(numberOfTests)
  expect(numberOfTests).toBe(401)
})

it('the exceptions among the valid ones are what they are said to be', () => {
  const symmetric = testGroups.filter((group) => group.public === undefined && group.private.kty === 'oct')
  const valid = symmetric.flatMap(({ tests }) => tests).filter(({ result }) => result === 'valid')

  expect(valid.map(({ tcId }) => tcId)).toEqual(SYMMETRIC)
})
