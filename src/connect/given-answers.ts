import type { IncomingMessage } from 'node:http'
import type { Clock } from '../clock.js'
import { InternalError, StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { holds, type FlowCookies } from './cookies.js'
import { createOneTimeRecords, ONE_TIME_LIFE, type OneTimeRecord, type OneTimeRooms } from './one-time.js'
import type { Ticket } from './tickets.js'

/** The answer to the question of a link, and how far it has led. */
export interface GivenAnswer {
  readonly answer: 'yes' | 'no'
  readonly ticket: Ticket
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The cookie of the form that was sent: its flow, and the hash of its value. */
  readonly flow: string
  readonly cookieHash: string
  /** The secret of the login at Nextcloud that it has led to. */
  readonly login?: string
  /** Whether it has led to a connection. */
  readonly connected?: true
}

/** The answers, under the secrets of their links: a link that is spent has one for as long as its way may take. */
export interface GivenAnswers {
  /** Stores the first answer; false if there is one. */
  readonly give: (secret: string, answer: GivenAnswer) => Promise<boolean>
  readonly read: (secret: string) => Promise<OneTimeRecord<GivenAnswer> | undefined>
  /** The same, if this browser has given it, within the last minute. */
  readonly repeatable: (req: IncomingMessage, secret: string) => Promise<OneTimeRecord<GivenAnswer> | undefined>
  /** Notes how far it has led, unless it has led there before. Never rejects: a repetition leads to another way then. */
  readonly note: (secret: string | undefined, step: Pick<GivenAnswer, 'login' | 'connected'>) => Promise<void>
  /** Makes a "no" of it; false if another request was first. */
  readonly withdraw: (record: OneTimeRecord<GivenAnswer>) => Promise<boolean>
}

/** Milliseconds for which the same form may be sent again by the same browser: a second click, or a reload. */
export const MAY_REPEAT_FOR = 60_000

export function createGivenAnswers(
  rooms: OneTimeRooms & { readonly cookies: FlowCookies; readonly clock: Clock },
): GivenAnswers {
  const records = createOneTimeRecords<GivenAnswer>('answer', rooms, MAY_REPEAT_FOR + ONE_TIME_LIFE)
  const { cookies, clock } = rooms
  return {
    give: (secret, answer) =>
      records.create(answer, secret).then(
        () => true,
        ifError(InternalError, () => false),
      ),
    read: records.read,
    async repeatable(req, secret) {
      const record = await records.read(secret)
      if (record === undefined || clock.now() >= record.value.at + MAY_REPEAT_FOR) return undefined
      return holds(cookies.values(req, record.value.flow), record.value.cookieHash) ? record : undefined
    },
    async note(secret, step) {
      if (secret === undefined) return
      const attempt = async (): Promise<void> => {
        const record = await records.read(secret)
        if (record !== undefined) await records.replace(record, { ...record.value, ...step })
      }
      await attempt().catch(ifError(StorageError, () => undefined))
    },
    withdraw: (record) => records.replace(record, { ...record.value, answer: 'no' }),
  }
}
