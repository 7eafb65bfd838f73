import { ToolFailure } from './tool.js'

/** Bytes of an answer of Nextcloud that are read. */
export const MOST_ANSWER = 1_048_576

/**
 * Reads an answer to its end.
 *
 * @throws {ToolFailure} it is larger than `most` bytes
 */
export async function readBytes(answer: Response, most = MOST_ANSWER): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  const body = answer.body as AsyncIterable<Uint8Array> | null
  // Leaving the loop ends the connection.
  for await (const part of body ?? []) {
    size += part.length
    if (size > most) throw new ToolFailure(`Nextcloud’s answer is larger than ${most} bytes, so it is not read.`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

export const readText = async (answer: Response): Promise<string> => new TextDecoder().decode(await readBytes(answer))

/** Reads JSON; undefined if it is not JSON. */
export async function readJson(answer: Response): Promise<unknown> {
  try {
    return JSON.parse(await readText(answer)) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Leaves an answer unread, so that its connection is free again. */
export async function leave(answer: Response): Promise<void> {
  await answer.body?.cancel()
}

/** The meaning of a status for whatever was asked. */
const REASONS: Readonly<Record<number, string>> = {
  401: 'Nextcloud does not take this sign-in any more (401): the user has ended it there, or the account is disabled. Connecting again in the app mends it.',
  429: 'Nextcloud has too many requests (429): try again in a few minutes.',
  503: 'Nextcloud is in maintenance, or the account is disabled (503): try again later.',
}

/** Reads no body, and tells the status: Nextcloud's own words may hold anything. */
export async function refused(
  answer: Response,
  reasons: Readonly<Record<number, string>>,
  what: string,
): Promise<ToolFailure> {
  await leave(answer)
  const { status } = answer
  return new ToolFailure(reasons[status] ?? REASONS[status] ?? `Nextcloud answered ${status} for ${what}.`)
}

/** Returns the lines with a note of those that are left out. */
export function lines(all: readonly string[], most: number, none: string): string {
  if (all.length === 0) return none
  const left = all.length - most
  return [...all.slice(0, most), ...(left > 0 ? [`… and ${left} more, which are not shown.`] : [])].join('\n')
}

/** Returns a text on one line, at most `most` characters long. */
export function oneLine(text: string, most: number): string {
  const flat = text
    .slice(0, most * 4)
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  return flat.length > most ? `${flat.slice(0, most - 1)}…` : flat
}
