import { readFileSync } from 'node:fs'

export interface RecordedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

/** A request to a real Nextcloud, the state that it was in, and what it answered. */
export interface Exchange {
  readonly id: string
  readonly given: string
  readonly request: {
    readonly method: string
    readonly path: string
    /** Null: not sent. */
    readonly headers: Readonly<Record<string, string | null>>
    readonly body?: string | Readonly<Record<string, unknown>> | null
  }
  readonly answer: RecordedAnswer
}

interface Recordings {
  readonly responses: readonly RecordedAnswer[]
  readonly exchanges: readonly (Omit<Exchange, 'answer'> & { readonly response: number })[]
}

const FILE = new URL('../../fixtures/nextcloud-32.json', import.meta.url)

export function readRecordings(): Exchange[] {
  const { responses, exchanges } = JSON.parse(readFileSync(FILE, 'utf8')) as Recordings
  return exchanges.map(({ response, ...exchange }) => ({ ...exchange, answer: responses[response]! }))
}
