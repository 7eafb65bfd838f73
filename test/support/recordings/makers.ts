import type { ReceivedAnswer } from './compare.js'
import { secretOf, type Bed } from './bed.js'
import type { Exchange } from './recorded.js'

/** What the placeholders of a request stand for, each made when it is asked for. */
export type Makers = Readonly<Record<string, () => string | Promise<string>>>

/** The exchange that credentials are made for, and where. */
export interface Making extends Bed {
  readonly id: string
  readonly given: string
  /** Fields of the recorded body. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly post: (
    path: string,
    form: Record<string, string>,
    headers?: Record<string, string>,
  ) => Promise<ReceivedAnswer>
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

/** Milliseconds. */
export const SECOND = 1_000
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

export const basic = (name: string, password: string): string => Buffer.from(`${name}:${password}`).toString('base64')

/** The id and secret of a client, as a form has them. */
export const clientFields = (clientId: string) => ({ client_id: clientId, client_secret: secretOf(clientId) })

export function makingFor(bed: Bed, { id, given, request }: Exchange): Making {
  return {
    ...bed,
    id,
    given,
    fields: typeof request.body === 'object' ? (request.body ?? {}) : {},
    post: (path, form, headers = {}) =>
      bed.send({ method: 'POST', path, headers: { ...FORM, ...headers }, body: new URLSearchParams(form).toString() }),
  }
}
