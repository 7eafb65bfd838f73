import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { JWK } from 'jose'
import { describe, expect, it } from 'vitest'
import { SealedValueError } from '../../src/errors/errors.js'
import { createSealer } from '../../src/grants/seal.js'

interface Vector {
  readonly tcId: number
  readonly comment: string
  readonly jwe: string
  readonly enc: string
  readonly result: 'valid' | 'invalid'
}
interface Group {
  readonly comment: string
  readonly private: JWK
  readonly tests: readonly Vector[]
}

const file = new URL('../vectors/json_web_encryption_test.json', import.meta.url)
const { numberOfTests, testGroups } = JSON.parse(readFileSync(file, 'utf8')) as {
  numberOfTests: number
  testGroups: readonly Group[]
}
const RECORD = 'v1:record'

/** The key of a group, where it is one that values can be sealed with, else any. */
function ringOf({ private: key }: Group): Uint8Array[] {
  const bytes = Buffer.from(key.k ?? '', 'base64url')
  return [bytes.length === 32 ? bytes : randomBytes(32)]
}

let run = 0

/**
 * No vector is made with `dir` and A256GCM, so none may open, the valid ones included: neither as it is, nor under the header that
 * a sealed value has, where everything that follows it is looked at.
 */
describe.each(testGroups.map((group, index) => ({ name: `${index}, ${group.comment}`, group })))(
  'of group $name,',
  ({ group }) => {
    const { seal, open } = createSealer(ringOf(group))

    it.each(group.tests)('vector $tcId ($result): $comment is refused', async ({ jwe }) => {
      run += 1
      const sealed = await seal(RECORD, 'value')
      const [header = ''] = sealed.split('.')
      const disguised = jwe.includes('.') ? header + jwe.slice(jwe.indexOf('.')) : header

      expect(await open(RECORD, sealed)).toBe('value')
      await expect(open(RECORD, jwe)).rejects.toThrow(SealedValueError)
      await expect(open(RECORD, disguised)).rejects.toThrow(SealedValueError)
    })
  },
)

it('every vector of the file was run', () => {
  expect(run).toBe(numberOfTests)
  expect(numberOfTests).toBe(139)
})

it('none of the vectors is made as values are sealed here', () => {
  const direct = testGroups
    .flatMap(({ tests }) => tests)
    .filter(({ jwe }) => Buffer.from(jwe.split('.')[0]!, 'base64url').toString('latin1').includes('"dir"'))

  expect(direct.map(({ tcId, enc }) => ({ tcId, enc }))).toEqual([{ tcId: 132, enc: 'A128GCM' }])
})
