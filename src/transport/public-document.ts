import { Agent as HttpsAgent, type AgentOptions } from 'node:https'
import { isIP } from 'node:net'
import type { Clock } from '../clock.js'
import type { HttpConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { failureCode, leaveUnread, readBody } from './answer.js'
import { startDeadline } from './deadline.js'
import { proxyOptions, withNodeFetch } from './node-fetch.js'
import { checkedLookup, findAddresses, isPublicAddress, type FindAddresses } from './public-address.js'

/**
 * Fetches a JSON document at an address that a stranger has named. Undefined: there is none, or it may not be fetched. Over https only,
 * from public addresses only, without redirects, credentials or connections that were there before. It never rejects.
 *
 * @param isKnown whether it is in use here: such documents have places of their own, which no stranger takes
 */
export type FetchPublicDocument = (url: string, isKnown?: boolean) => Promise<unknown>

/** The answer in place of a document where it is not known whether there is one: its host fails or is slow, or too many are fetched. */
export const NO_ANSWER = Symbol('no answer')

/** Bytes, after decompression. */
const LONGEST_DOCUMENT = 5_120
/** Milliseconds, from the look-up of the name to the last byte. */
const PATIENCE = 3_000
/** Documents that are fetched at one time, in all and from one host: those that strangers name, and beside them those that are in use. */
const MOST_FETCHES = { all: 32, fromHost: 8 }
const MOST_KNOWN = { all: 8, fromHost: 4 }

/** The parts of the way that a test replaces: the addresses that it may lead to, the certificates that are trusted, the name servers. */
interface PublicWay {
  readonly isAllowed: (address: string) => boolean
  readonly tls: AgentOptions
  readonly find: FindAddresses
}

const PUBLIC: PublicWay = { isAllowed: isPublicAddress, tls: {}, find: findAddresses() }

/**
 * Returns undefined where addresses cannot be checked: with `http.fetch` or `http.agent`, and behind a proxy of the environment, which
 * looks names up by itself.
 */
export function createPublicDocuments(
  { fetch, agent }: Pick<HttpConfig, 'fetch' | 'agent'>,
  clock: Clock,
  { isAllowed, tls, find }: PublicWay = PUBLIC,
): FetchPublicDocument | undefined {
  if (fetch !== undefined || agent !== undefined || Object.keys(proxyOptions()).length > 0) return undefined
  const fetchPublic = withNodeFetch(
    new HttpsAgent({ ...tls, keepAlive: false, maxCachedSessions: 0, lookup: checkedLookup(isAllowed, find) }),
  )
  const places = createPlaces(MOST_FETCHES)
  const placesOfKnown = createPlaces(MOST_KNOWN)
  return async (url, isKnown = false) => {
    if (!mayBeFetched(url, isAllowed)) return undefined
    const leave = (isKnown ? placesOfKnown : places).enter(new URL(url).host)
    if (leave === undefined) return NO_ANSWER
    const deadline = startDeadline(PATIENCE, clock)
    let response: Response | undefined
    try {
      const request = fetchPublic(url, {
        headers: { accept: 'application/json' },
        redirect: 'manual',
        signal: deadline.signal,
      })
      response = await deadline.race(request)
      if (response.status === 429 || response.status >= 500) return NO_ANSWER
      if (response.status !== 200) return undefined
      return parsed(await deadline.race(readBody(response, url, LONGEST_DOCUMENT)))
    } catch (error) {
      return isDecided(error) ? undefined : NO_ANSWER
    } finally {
      leave()
      leaveUnread(response?.body)
      deadline.clear()
    }
  }
}

/** Whether another attempt would end as this one: the document is too long, or its host is not public. */
function isDecided(error: unknown): boolean {
  const isAnswered = error instanceof UpstreamUnavailableError && error.httpStatus !== undefined
  return isAnswered || failureCode(error) === 'ENOTPUBLIC'
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown
  } catch {
    return undefined
  }
}

function createPlaces(most: typeof MOST_FETCHES) {
  const taken = new Map<string, number>()
  let all = 0
  return {
    /** Takes a place, and returns what gives it back. Undefined: there is none. */
    enter(host: string): (() => void) | undefined {
      const here = taken.get(host) ?? 0
      if (all >= most.all || here >= most.fromHost) return undefined
      all += 1
      taken.set(host, here + 1)
      return () => {
        all -= 1
        const left = Number(taken.get(host)) - 1
        if (left > 0) taken.set(host, left)
        else taken.delete(host)
      }
    },
  }
}

/** A socket looks no address up, so one in the URL itself is checked here. */
function mayBeFetched(url: string, isAllowed: (address: string) => boolean): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  return protocol === 'https:' && username === '' && password === '' && (isIP(host) === 0 || isAllowed(host))
}
