import { createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { flowOf, isSame, type FlowCookies } from '../connect/cookies.js'
import { ONE_TIME_LIFE } from '../connect/one-time.js'
import { withoutWhitespace } from '../http/whitespace.js'
import type { ReadKeyRing } from './key-ring.js'

/** The way of one question: the `state` that goes to Nextcloud, and the cookie of the browser that brought the question. */
export interface WayOfQuestion {
  readonly state: string
  readonly flow: string
  readonly value: string
}

/**
 * The cookies that tie each question, from the authorization request to the answer to the client, to one browser. Those of oidc-provider
 * can be planted by a page on a sibling host, these cannot.
 */
export interface QuestionCookies {
  /** The same for each call, so that a question leaves one record, however often it is answered. */
  readonly wayOf: (question: string) => Promise<WayOfQuestion>
  /** Returns the MAC of a question's form, by a key that all instances share. */
  readonly formMac: (question: string) => Promise<string>
  /** Returns the `Set-Cookie` values for the browser that brings a question. */
  readonly issue: (req: IncomingMessage, question: string) => Promise<readonly string[]>
  /**
   * Whether this browser brought the question. If so, oidc-provider sees its cookies for this question, and those for no other: it looks
   * at cookies alone, and not at the path.
   */
  readonly admit: (req: IncomingMessage, question: string) => Promise<boolean>
  /** Returns the `Set-Cookie` value that ends the cookie of a question. */
  readonly end: (question: string) => Promise<string>
}

/** Names of oidc-provider's cookies for a question. */
export const QUESTION_COOKIES = { interaction: '_interaction', resume: '_interaction_resume' } as const

export function createQuestionCookies(cookies: FlowCookies, readKeys: ReadKeyRing): QuestionCookies {
  const mac = async (purpose: string, question: string): Promise<string> =>
    createHmac('sha256', (await readKeys()).cookieKey)
      .update(`${purpose} ${question}`)
      .digest('base64url')
  const wayOf = async (question: string): Promise<WayOfQuestion> => {
    const state = await mac('state', question)
    return { state, flow: flowOf(state), value: await mac('browser', question) }
  }
  return {
    wayOf,
    formMac: (question) => mac('form', question),
    async issue(req, question) {
      const { flow, value } = await wayOf(question)
      return cookies.issue(req, flow, { value, life: ONE_TIME_LIFE }).headers
    },
    async admit(req, question) {
      const { flow, value } = await wayOf(question)
      const isHeld = cookies.values(req, flow).some((held) => isSame(held, value))
      if (isHeld) req.headers.cookie = withQuestion(String(req.headers.cookie), question)
      return isHeld
    },
    end: async (question) => cookies.end((await wayOf(question)).flow),
  }
}

function withQuestion(header: string, question: string): string {
  const names: string[] = Object.values(QUESTION_COOKIES)
  const others = header.split(';').filter((pair) => !names.includes(withoutWhitespace(pair.replace(/=.*/, ''))))
  return [...others, ...names.map((name) => `${name}=${question}`)].join(';')
}
