import { describe, expect, it } from 'vitest'
import { McpAuthError, NotProvisionedError } from '../../../src/index.js'
import { isOneLine, lines, oneLine, readBytes } from '../../../src/serve/tools/answer.js'
import { runTool, TOOLS } from '../../../src/serve/tools/tools.js'

it('counts the lines that are left out', () => {
  expect(lines(['a', 'b', 'c'], 2, 'none')).toBe('a\nb\n… and 1 more, which are not shown.')
  expect(lines(['a', 'b'], 2, 'none')).toBe('a\nb')
  expect(lines(['a', undefined, 'b', 'c', undefined], 2, 'none')).toBe(
    'a\nb\n… and 1 more, which are not shown.\n… and 2 more, whose names cannot be shown.',
  )
  expect(lines([], 2, 'none')).toBe('none')
})

it('cuts a text at its length, on one line', () => {
  expect([oneLine(' ab\ncd ', 5), oneLine('abcdef', 5)]).toEqual(['ab cd', 'abcd…'])
  expect(oneLine('a\u202Eb\u2066\u2028c', 5)).toBe('ab c')
  expect(oneLine('a\u{E0069}\u{E0067}b', 5)).toBe('ab')
  expect([isOneLine('a\u{E0069}b'), isOneLine('👩\u200D🚀.png')]).toEqual([false, true])
})

it('reads nothing where an answer has no body', async () => {
  expect(await readBytes(new Response(null, { status: 204 }))).toHaveLength(0)
})

describe('a tool that fails', () => {
  const [tool] = TOOLS
  const failing = async (failure: Error) => {
    const defects: string[] = []
    const run = () => Promise.reject(failure)
    const result = await runTool(
      { ...tool!, run },
      {} as never,
      {},
      (name, error) => void defects.push(`${name}: ${error}`),
    )
    return { result, defects }
  }

  it.each([
    [new TypeError('canary'), 'TypeError'],
    [Object.assign(new Error('canary'), { name: 'canary' }), 'unknown'],
  ])('for a reason of its own tells the model nothing, and reports it: %s', async (failure, word) => {
    const { result, defects } = await failing(failure)

    expect(result).toEqual({
      content: [{ type: 'text', text: 'That did not work, for a reason that this server does not know.' }],
      isError: true,
    })
    expect(defects).toEqual([`${tool!.name}: ${word}`])
  })

  it('since the user is not connected hands that on, because the client hears of the link', async () => {
    const failure = new NotProvisionedError('never')

    expect(failure).toBeInstanceOf(McpAuthError)
    await expect(failing(failure)).rejects.toBe(failure)
  })
})
