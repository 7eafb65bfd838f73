import { printable } from './errors/rejection-details.js'

/** Returns an event as one line: its type, its message where it has one, and all else as JSON. The time is left out, because loggers write their own. */
export function lineOf(event: { readonly type: string; readonly message?: string }): string {
  const { type, message, ...others } = event
  const rest = JSON.stringify({ ...others, at: undefined })
  return printable([type, ...(message === undefined ? [] : [message]), ...(rest === '{}' ? [] : [rest])].join(' '))
}
