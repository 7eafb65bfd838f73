import { advertisedScopes } from '../config/values.js'
import type { InsufficientScopeError, NotProvisionedError } from '../errors/errors.js'

/** The result of a tool that was refused, for the model to tell the user. */
export interface RefusalResult {
  [key: string]: unknown
  content: { type: 'text'; text: string }[]
  isError: true
}

/** The outcome of asking the user other than a connection; `failed` where the client could not ask. */
export type Ending = 'declined' | 'cancelled' | 'late' | 'failed'

const ENDINGS = {
  declined: 'The user declined to connect Nextcloud. Do not call this tool again unless the user asks for it.',
  cancelled:
    'The user closed the request to connect Nextcloud. If the user wants to connect it after all, call this tool again.',
  late: 'The user has not connected Nextcloud in time. When the user has done so, call this tool again.',
} as const

/** The reason for which the user must connect Nextcloud, as a sentence without its full stop. */
export function reasonOf(refusal: NotProvisionedError): string {
  return refusal.body.error_description
}

/** Instructions with the link, for clients that cannot ask by themselves. */
export function instructions(refusal: NotProvisionedError): string {
  const { connectUrl, expiresAt } = refusal
  if (connectUrl === undefined) {
    return `${reasonOf(refusal)}, and there is no page for it here: the operator of this server has to connect this user.`
  }
  const until = expiresAt === undefined ? '' : ` until ${new Date(expiresAt * 1_000).toISOString()}`
  return (
    `${reasonOf(refusal)}. Ask the user to open this link in a browser${until}: ${connectUrl}\n` +
    'It is for this user alone. When the user has connected Nextcloud there, call this tool again.'
  )
}

/** The result of a call that could not go on: the instructions, or the outcome of asking the user. */
export function refusalResult(refusal: NotProvisionedError, ending: Ending = 'failed'): RefusalResult {
  return errorResult(ending === 'failed' ? instructions(refusal) : ENDINGS[ending])
}

/** The result of a call whose access token lacks a scope. */
export function scopeResult({ body, requiredScopes }: InsufficientScopeError): RefusalResult {
  return errorResult(
    `${body.error_description}. It needs: ${advertisedScopes(requiredScopes).join(' ')}. ` +
      'The user has to sign in to this server again and allow that.',
  )
}

function errorResult(text: string): RefusalResult {
  return { content: [{ type: 'text', text }], isError: true }
}
