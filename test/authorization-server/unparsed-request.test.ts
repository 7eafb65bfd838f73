import { expect, it } from 'vitest'
import { sendUnparsed } from '../../src/authorization-server/unparsed-request.js'
import { InternalError } from '../../src/errors/errors.js'
import type { WholeAnswer } from '../../src/transport/answer.js'

const ANSWER: WholeAnswer = { status: 200, headers: new Headers(), text: 'answer' } as unknown as WholeAnswer

it('gives the answer to the request that the library sends, and fails if it sends none', async () => {
  const ask = () => Promise.resolve(ANSWER)

  expect(await sendUnparsed(ask, (fetch) => fetch('https://idp.example/token', {} as never))).toBe(ANSWER)
  await expect(sendUnparsed(ask, () => Promise.resolve(new Response()))).rejects.toThrow(InternalError)
})
