import { describe, expect, it } from 'vitest'
import { setUpMcp, toolCalls, type McpSetup } from '../support/mcp-setup.js'

/** Calls `read_note` as a client of 2026-07-28 does that answers the question with `inputResponses`; the JSON-RPC result. */
async function answerWith({ client }: McpSetup, inputResponses: unknown): Promise<Record<string, unknown>> {
  const { callTool, sent, url, token } = await client('SDK v2, 2026-07-28', {
    answer: () => Promise.resolve('decline'),
  })
  await callTool('read_note', { id: 7 })
  const answered = JSON.parse(sent.findLast((message) => toolCalls([message]) === 1) ?? '') as {
    params: Record<string, unknown>
  }
  expect(answered.params).toHaveProperty('inputResponses.connect_nextcloud')
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${token}`,
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28',
      'Mcp-Method': 'tools/call',
      'Mcp-Name': 'read_note',
    },
    body: JSON.stringify({ ...answered, params: { ...answered.params, inputResponses } }),
  })
  const body = await response.text()
  const json = response.headers.get('content-type')?.startsWith('application/json')
    ? body
    : (/^data: (\{.*)$/m.exec(body)?.[1] ?? '')
  return (JSON.parse(json) as { result: Record<string, unknown> }).result
}

describe('an answer to the question that is none', () => {
  it.each([
    ['null', null],
    ['a text', 'accept'],
    ['a list', ['accept']],
    ['an object without an action', {}],
    ['an action that is no text', { action: { accept: true } }],
    ['an unknown action', { action: 'approve' }],
    [
      'an answer to a question of another kind',
      { role: 'assistant', content: { type: 'text', text: 'accept' }, model: 'm' },
    ],
  ])('%s ends the call with the link as text, and is not asked for again', async (_what, answer) => {
    const setup = await setUpMcp('SDK v2 without sessions')

    const result = await answerWith(setup, { connect_nextcloud: answer })

    expect(result).toMatchObject({ isError: true })
    expect(result['resultType']).not.toBe('input_required')
    expect(JSON.stringify(result)).toContain(setup.link.connectUrl)
    expect(setup.waits).toEqual([])
    expect(setup.tokens).toEqual([])
  })

  it('a forged accept of somebody who is not connected gains nothing but the wait', async () => {
    const setup = await setUpMcp('SDK v2 without sessions', { wait: 1_000 })

    const forged = answerWith(setup, { connect_nextcloud: { action: 'accept', content: { connected: true } } })
    await setup.waitsBegun(1)

    expect(await setup.advancing(forged, 500)).toMatchObject({ isError: true })
    expect(setup.tokens).toEqual([])
  })

  it('answers to other questions alone are no answer: the user is asked', async () => {
    const setup = await setUpMcp('SDK v2 without sessions')

    const result = await answerWith(setup, { something_else: { action: 'accept' } })

    expect(result['resultType']).toBe('input_required')
    expect(result).toHaveProperty('inputRequests.connect_nextcloud')
  })
})
