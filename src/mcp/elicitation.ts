import type { NotProvisionedError } from '../errors/errors.js'
import { reasonOf, refusalResult, type Ending, type RefusalResult } from './texts.js'
import type { ToolCall } from './tool-call.js'

/** URL elicitation as MCP 2025-11-25 has it. */
export interface UrlElicitation {
  readonly mode: 'url'
  readonly elicitationId: string
  readonly url: string
  readonly message: string
}

/** Asks the client; rejects when that fails or the signal aborts. */
export type Ask = (elicitation: UrlElicitation, signal: AbortSignal) => Promise<{ readonly action: string }>

/** What a client is asked when it can be asked; undefined where there is no link to show. */
export function elicitationOf(refusal: NotProvisionedError): UrlElicitation | undefined {
  const { connectUrl: url, elicitationId } = refusal
  if (url === undefined || elicitationId === undefined) return undefined
  return { mode: 'url', elicitationId, url, message: `${reasonOf(refusal)}. Open this page to connect it.` }
}

/** Whether a client declared URL elicitation. `elicitation: {}` means forms only (MCP 2025-11-25, elicitation). */
export function declaresUrlElicitation(capabilities: unknown): boolean {
  const { elicitation } = (capabilities ?? {}) as { readonly elicitation?: { readonly url?: unknown } | null }
  return typeof elicitation?.url === 'object' && elicitation.url !== null
}

/**
 * Whether a transport answers each request with one JSON body, where a question to the client has no place: the SDKs drop it
 * without a word, and no public member of theirs tells. Should theirs change, the question stays unanswered and the call ends
 * with a text.
 */
export function answersInJson(transport: unknown): boolean {
  const outer = (transport ?? {}) as { readonly _webStandardTransport?: object }
  const inner = (outer._webStandardTransport ?? outer) as { readonly _enableJsonResponse?: unknown }
  return inner._enableJsonResponse === true
}

interface OpenQuestion {
  /** The answer's action. */
  readonly answer: Promise<string>
  /** Ends the question. */
  readonly over: AbortController
  /** Calls that wait for the answer. */
  askers: number
}

/** Questions that are open, by what stands for the client's session and then by their link. */
const openQuestions = new WeakMap<object, Map<string, OpenQuestion>>()

/**
 * The answer's action. Tools that a model calls side by side are refused side by side: the user is asked once for all, and the
 * question is open until the last of them has ended.
 */
function askOnce(session: object, elicitation: UrlElicitation, ask: Ask, signal: AbortSignal): Promise<string> {
  const open = openQuestions.get(session) ?? new Map<string, OpenQuestion>()
  openQuestions.set(session, open)
  const { url } = elicitation
  const question = open.get(url) ?? openQuestion(elicitation, ask)
  // Another one for the same link may have come after it.
  const close = (): void => {
    if (open.get(url) === question) open.delete(url)
  }
  if (!open.has(url)) {
    open.set(url, question)
    void question.answer.finally(() => close())
  }
  question.askers += 1
  const leave = (): void => {
    question.askers -= 1
    if (question.askers > 0) return
    close()
    question.over.abort()
  }
  if (signal.aborted) leave()
  else signal.addEventListener('abort', leave, { once: true })
  return question.answer
}

function openQuestion(elicitation: UrlElicitation, ask: Ask): OpenQuestion {
  const over = new AbortController()
  const answer = ask(elicitation, over.signal).then(
    ({ action }) => action,
    () => 'failed',
  )
  return { answer, over, askers: 0 }
}

/** How an answer's action ends a call. */
export function endingOf(action: string): Ending {
  if (action === 'decline') return 'declined'
  return action === 'cancel' ? 'cancelled' : 'failed'
}

/**
 * Asks the client within the call, waits until the user is connected, and tries once more. What is in the way after that is the
 * result: a call asks once.
 *
 * @param session stands for the client's session
 */
export async function askWithinCall<R>(
  call: ToolCall<R>,
  refusal: NotProvisionedError,
  session: object,
  elicitation: UrlElicitation,
  ask: Ask,
): Promise<R | RefusalResult> {
  const over = new AbortController()
  const signal = AbortSignal.any([call.signal, over.signal])
  const connection = async (): Promise<string> => ((await call.waitForConnection(signal)) ? 'connected' : 'late')
  let outcome: string
  try {
    // It counts from the start too: some clients answer only when the user is back from the page, and some never.
    outcome = await Promise.race([connection(), askOnce(session, elicitation, ask, signal)])
    // An `accept` means that the user went to the page, and may be a lie: the store decides.
    if (outcome === 'accept') outcome = await connection()
  } finally {
    over.abort()
  }
  if (outcome === 'connected') return lastAttempt(call)
  return refusalResult(refusal, outcome === 'late' ? 'late' : endingOf(outcome))
}

/** Tries once more; what is in the way now is the result. */
export async function lastAttempt<R>(call: ToolCall<R>): Promise<R | RefusalResult> {
  const { result, refusal } = await call.attempt()
  return refusal === undefined ? result : refusalResult(refusal)
}
