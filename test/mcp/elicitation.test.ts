import { setImmediate } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { NotProvisionedError } from '../../src/errors/errors.js'
import { answerRefusal, type Asking } from '../../src/mcp/elicitation.js'
import { readToolOptions, type ToolCall } from '../../src/mcp/tool-call.js'
import { withNextcloud } from '../../src/mcp/v1.js'

const LINK = { connectUrl: 'https://mcp.example.com/nextcloud/connect?ticket=t', elicitationId: 'id', expiresAt: 1 }
const REFUSAL = new NotProvisionedError('never', LINK)

/** A promise that a test settles. */
function pending<T>() {
  let resolve: (value: T) => void = () => undefined
  return { promise: new Promise<T>((settle) => (resolve = settle)), resolve: (value: T) => resolve(value) }
}

/** A session whose client gives `answer`, and calls in it that wait until `connected`, or for ever. */
function open(answer: (signal: AbortSignal) => Promise<{ action: string }>) {
  const connection = pending<boolean>()
  const ask = vi.fn<Asking['ask']>((_elicitation, signal) => answer(signal))
  const asking: Asking = {
    server: { getClientCapabilities: () => ({ elicitation: { url: {} } }) },
    canAsk: true,
    ask,
    UrlElicitationRequiredError: Error as never,
  }
  const call = (result: string | NotProvisionedError, signal = new AbortController().signal) => {
    const attempt = () => Promise.resolve(typeof result === 'string' ? { result } : { refusal: result })
    const waitForConnection: ToolCall<string>['waitForConnection'] = (until) =>
      Promise.race([
        connection.promise,
        new Promise<boolean>((resolve) => until.addEventListener('abort', () => resolve(false))),
      ])
    return answerRefusal<string>({ attempt, waitForConnection, signal }, REFUSAL, asking)
  }
  return { ask, call, connected: () => connection.resolve(true), late: () => connection.resolve(false) }
}

const textOf = (outcome: unknown) => (outcome as { content: [{ text: string }] }).content[0].text
const never = () => new Promise<never>(() => undefined)

it('asks with an id, and goes on when the user is connected, though nobody has answered', async () => {
  const { call, ask, connected } = open(never)
  const outcome = call('done')
  connected()

  expect(await outcome).toBe('done')
  expect(ask).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ mode: 'url', url: LINK.connectUrl, elicitationId: LINK.elicitationId }),
    expect.any(AbortSignal),
  )
})

it('ends in a text when nobody answers or connects in time, and withdraws the question', async () => {
  let question: AbortSignal | undefined
  const { call, late } = open((signal) => {
    question = signal
    return never()
  })
  const outcome = call('done')
  late()

  expect(textOf(await outcome)).toContain('not connected Nextcloud in time')
  expect(question?.aborted).toBe(true)
})

it('gives the link as text when the client fails to ask', async () => {
  const { call } = open(() => Promise.reject(new Error('no window')))

  expect(textOf(await call('done'))).toContain(LINK.connectUrl)
})

it('asks again in a later call after a question was declined', async () => {
  const { call, ask } = open(() => Promise.resolve({ action: 'decline' }))

  expect(textOf(await call('done'))).toContain('The user declined')
  await call('done')

  expect(ask).toHaveBeenCalledTimes(2)
})

it('asks once for calls side by side; one that is cancelled leaves the question to the others', async () => {
  const answer = pending<{ action: string }>()
  let question: AbortSignal | undefined
  const { call, ask, connected } = open((signal) => {
    question = signal
    return answer.promise
  })
  const cancelled = new AbortController()
  const outcomes = [call('first', cancelled.signal), call('second'), call('third')]

  cancelled.abort()
  await setImmediate()
  expect(question?.aborted).toBe(false)
  // The question is still open for calls to come.
  outcomes.push(call('fourth'))
  answer.resolve({ action: 'accept' })
  await setImmediate()
  connected()

  expect((await Promise.all(outcomes)).slice(1)).toEqual(['second', 'third', 'fourth'])
  expect(ask).toHaveBeenCalledOnce()
})

it.each([
  ['server', { server: {} }],
  ['server', { server: { server: { transport: {} } } }],
  ['wait', { wait: 600_001 }],
  ['timeout', { timeout: 1 }],
])('a wrong or unknown option is refused by its name when the tool is made: %s', (option, options) => {
  const refusal = expect.objectContaining({ code: 'ERR_CONFIGURATION', option }) as unknown
  expect(() => readToolOptions(options as never)).toThrow(refusal)
  expect(() => withNextcloud({} as never, () => ({ content: [] }), options as never)).toThrow(refusal)
})
