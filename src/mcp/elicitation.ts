import type { NotProvisionedError } from '../errors/errors.js'
import { instructions, reasonOf, refusalResult, type Ending, type RefusalResult } from './texts.js'
import type { ClientSide, ToolCall } from './tool-call.js'

/** URL elicitation (MCP 2025-11-25). */
export interface UrlElicitation {
  readonly mode: 'url'
  readonly elicitationId: string
  readonly url: string
  readonly message: string
}

/** A call as its SDK serves it. */
export interface Asking {
  readonly server: ClientSide | undefined
  /** Whether the client's answer would come back to this server. */
  readonly canAsk: boolean
  /** Asks the client; rejects when that fails or the signal aborts. */
  readonly ask: (elicitation: UrlElicitation, signal: AbortSignal) => Promise<{ readonly action: string }>
  /** The SDK's error -32042. */
  readonly UrlElicitationRequiredError: new (elicitations: UrlElicitation[], message: string) => Error
}

/** Milliseconds beyond `wait` after which an SDK gives up a question by itself; this package's clock comes first. */
export const BEYOND_WAIT = 60_000

/** The question for a client; undefined where there is no link to show, or the client did not declare URL elicitation. */
export function elicitationOf(refusal: NotProvisionedError, capabilities: unknown): UrlElicitation | undefined {
  const { connectUrl: url, elicitationId } = refusal
  if (url === undefined || elicitationId === undefined || !declaresUrlElicitation(capabilities)) return undefined
  return { mode: 'url', elicitationId, url, message: `${reasonOf(refusal)}. Open this page to connect it.` }
}

/** `elicitation: {}` means forms only (MCP 2025-11-25, elicitation). */
function declaresUrlElicitation(capabilities: unknown): boolean {
  const { elicitation } = (capabilities ?? {}) as { readonly elicitation?: { readonly url?: unknown } | null }
  return typeof elicitation?.url === 'object' && elicitation.url !== null
}

/**
 * Whether a transport answers each request with one JSON body, which has no place for a question to the client: the SDKs drop
 * it silently. Read from their private members, because no public one tells. Should those change, the question stays unanswered
 * and the call ends with a text.
 */
function answersInJson(transport: unknown): boolean {
  const outer = (transport ?? {}) as { readonly _webStandardTransport?: object }
  const inner = (outer._webStandardTransport ?? outer) as { readonly _enableJsonResponse?: unknown }
  return inner._enableJsonResponse === true
}

/** Asks the client within the call if that is possible. Else the refusal is the result, or an error that asks for it. */
export async function answerRefusal<R>(
  call: ToolCall<R>,
  refusal: NotProvisionedError,
  { server, canAsk, ask, UrlElicitationRequiredError }: Asking,
): Promise<R | RefusalResult> {
  const elicitation = elicitationOf(refusal, server?.getClientCapabilities())
  if (server === undefined || elicitation === undefined) return refusalResult(refusal)
  if (!canAsk || answersInJson(server.transport)) {
    throw new UrlElicitationRequiredError([elicitation], instructions(refusal))
  }
  return askWithinCall(call, refusal, (signal) => askOnce(questionsOf(server), elicitation, ask, signal))
}

/**
 * Asks the client within the call, waits until the user is connected, and tries once more. A refusal after that is the result,
 * because a call asks once.
 */
async function askWithinCall<R>(
  call: ToolCall<R>,
  refusal: NotProvisionedError,
  answer: (signal: AbortSignal) => Promise<string>,
): Promise<R | RefusalResult> {
  const over = new AbortController()
  const signal = AbortSignal.any([call.signal, over.signal])
  const connection = async (): Promise<string> => ((await call.waitForConnection(signal)) ? 'connected' : 'late')
  let outcome: string
  try {
    // The wait begins with the question, because some clients answer only when the user is back from the page, and some never.
    outcome = await Promise.race([connection(), answer(signal)])
    // An `accept` says that the user went to the page, and may be a lie: the store decides.
    if (outcome === 'accept') outcome = await connection()
  } finally {
    over.abort()
  }
  if (outcome === 'connected') return lastAttempt(call)
  return refusalResult(refusal, outcome === 'late' ? 'late' : endingOf(outcome))
}

/** Tries once more. A refusal is the result now. */
export async function lastAttempt<R>(call: ToolCall<R>): Promise<R | RefusalResult> {
  const { result, refusal } = await call.attempt()
  return refusal === undefined ? result : refusalResult(refusal)
}

/** The ending of a call that an answer's action brings about. */
export function endingOf(action: string): Ending {
  if (action === 'decline') return 'declined'
  return action === 'cancel' ? 'cancelled' : 'failed'
}

interface OpenQuestion {
  /** The answer's action. */
  readonly answer: Promise<string>
  /** Calls that wait for the answer. */
  askers: number
  /** Ends the question. */
  readonly over: AbortController
}

/** The questions that are open in a session, by their link. */
type OpenQuestions = Map<string, OpenQuestion>

const openQuestions = new WeakMap<ClientSide, OpenQuestions>()

function questionsOf(session: ClientSide): OpenQuestions {
  const open = openQuestions.get(session) ?? new Map<string, OpenQuestion>()
  openQuestions.set(session, open)
  return open
}

/**
 * The answer's action. Tools that a model calls side by side are refused side by side: the user is asked once for all, and the
 * question is open until the last of them has ended.
 */
function askOnce(
  open: OpenQuestions,
  elicitation: UrlElicitation,
  ask: Asking['ask'],
  signal: AbortSignal,
): Promise<string> {
  const { url } = elicitation
  const question = open.get(url) ?? openQuestion(elicitation, ask)
  // Another question for the same link may have come after this one.
  const close = (): void => {
    if (open.get(url) === question) open.delete(url)
  }
  if (!open.has(url)) void question.answer.finally(close)
  open.set(url, question)
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

function openQuestion(elicitation: UrlElicitation, ask: Asking['ask']): OpenQuestion {
  const over = new AbortController()
  const answer = ask(elicitation, over.signal).then(
    ({ action }) => action,
    () => 'failed',
  )
  return { answer, over, askers: 0 }
}
