import { keyOf, read, seconds, storedIn, type ClientRooms } from './model-records.js'

/** Milliseconds for which nobody else takes an answer. A question that has led back to its client is gone by then. */
const TAKEN_FOR = 10_000

/** An answer that was taken for one request. */
export interface Taken {
  /** Lets the browser come again, because it could not be led back. Never rejects. */
  readonly giveBack: () => Promise<void>
}

/**
 * Takes the answer of a question for one request among all instances.
 *
 * @returns `none`: there is no answer yet; `late`: another request has it, or the question is gone
 */
export async function takeAnswerOf(rooms: ClientRooms, question: string): Promise<Taken | 'none' | 'late'> {
  const { records, clock } = rooms
  const key = keyOf(rooms, 'Interaction', question)
  const record = await read(rooms, key)
  const stored = storedIn(record)
  if (record === undefined || stored === undefined) return 'late'
  const { payload, takenAt = -Infinity } = stored
  if (payload['result'] === undefined) return 'none'
  const now = clock.now()
  if (now < takenAt + TAKEN_FOR) return 'late'
  const life = Math.max(1, (payload.exp ?? 0) - seconds(clock)) * 1_000
  const version = await records.write(key, { ...stored, takenAt: now }, record.version, life)
  if (version === null) return 'late'
  return {
    giveBack: async () => {
      await records.write(key, stored, version, life).catch(() => undefined)
    },
  }
}
