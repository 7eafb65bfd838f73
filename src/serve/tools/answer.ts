import { afterPatience, systemClock } from '../../clock.js'
import { UpstreamUnavailableError } from '../../errors/errors.js'
import { ToolFailure } from './tool.js'

/** Bytes of an answer of Nextcloud that are read. */
const MOST_ANSWER = 1_048_576
/** Milliseconds for the body of an answer, as `nextcloud.timeout` by default for what comes before. */
const BODY_PATIENCE = 60_000

/**
 * Reads an answer to its end.
 *
 * @throws {ToolFailure} it is larger than `most` bytes
 * @throws {UpstreamUnavailableError} it breaks off, or its end is late
 */
export async function readBytes(answer: Response, most = MOST_ANSWER, clock = systemClock): Promise<Uint8Array> {
  const reader = (answer.body as ReadableStream<Uint8Array> | null)?.getReader()
  if (reader === undefined) return new Uint8Array()
  const timing = { late: false }
  const stop = (): void => void reader.cancel().catch(() => undefined)
  const cancel = afterPatience(clock, BODY_PATIENCE, () => {
    timing.late = true
    stop()
  })
  try {
    const parts: Uint8Array[] = []
    for (let size = 0; ;) {
      const { value } = await reader.read().catch(() => brokenOff('breaks off'))
      if (timing.late) brokenOff(`has no end within ${BODY_PATIENCE} ms`)
      if (value === undefined) return Buffer.concat(parts)
      size += value.length
      if (size > most) throw new ToolFailure(`Nextcloud’s answer is larger than ${most} bytes, so it is not read.`)
      parts.push(value)
    }
  } finally {
    cancel()
    // Ends the connection of an answer that is not read to its end.
    stop()
  }
}

function brokenOff(how: string): never {
  throw new UpstreamUnavailableError(`The answer of Nextcloud ${how}`, { service: 'Nextcloud' })
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

/** Leaves an answer unread, so that its connection is free again. What it says by its status holds, also if it breaks off. */
export async function leave(answer: Response): Promise<void> {
  await answer.body?.cancel().catch(() => undefined)
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

/**
 * Returns the lines with notes of those that are left out. Undefined among them: what cannot be shown by a name that the other tools
 * take.
 */
export function lines(all: readonly (string | undefined)[], most: number, none: string): string {
  if (all.length === 0) return none
  const named = all.filter((line) => line !== undefined)
  const left = named.length - most
  const nameless = all.length - named.length
  return [
    ...named.slice(0, most),
    ...(left > 0 ? [`… and ${left} more, which are not shown.`] : []),
    ...(nameless > 0 ? [`… and ${nameless} more, whose names cannot be shown.`] : []),
  ].join('\n')
}

/**
 * Whether a name can be shown as it is: it ends no line, turns no writing direction (UAX #9) of what follows it, and has no tags (Unicode
 * §23.9), of which people see nothing and a model reads a text.
 */
export const isOneLine = (name: string): boolean =>
  !/[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\u{E0000}-\u{E007F}]/u.test(name)

/** Returns a text on one line, in its own writing direction and without tags, at most `most` characters long. */
export function oneLine(text: string, most: number): string {
  const flat = text
    .slice(0, most * 4)
    .replace(/[\u202A-\u202E\u2066-\u2069\u{E0000}-\u{E007F}]/gu, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  return flat.length > most ? `${flat.slice(0, most - 1)}…` : flat
}
