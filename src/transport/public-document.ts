import { Agent as HttpsAgent, type AgentOptions } from 'node:https'
import { isIP } from 'node:net'
import type { Clock } from '../clock.js'
import type { HttpConfig } from '../config/config.js'
import { leaveUnread, readBody } from './answer.js'
import { startDeadline } from './deadline.js'
import { proxyOptions, withNodeFetch } from './node-fetch.js'
import { checkedLookup, findAddresses, isPublicAddress, type FindAddresses } from './public-address.js'

/**
 * Fetches a JSON document at an address that a stranger has named. Undefined: there is none, or it may not be fetched. Over https only,
 * from public addresses only, without redirects, credentials or connections that were there before. It never rejects.
 */
export type FetchPublicDocument = (url: string) => Promise<unknown>

/** Bytes, after decompression. */
const LONGEST_DOCUMENT = 5_120
/** Milliseconds, from the look-up of the name to the last byte. */
const PATIENCE = 3_000
/** Documents that are fetched at one time. Beyond that there are none. */
const MOST_FETCHES = 32

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
  let fetches = 0
  return async (url) => {
    if (!mayBeFetched(url, isAllowed) || fetches >= MOST_FETCHES) return undefined
    fetches += 1
    const deadline = startDeadline(PATIENCE, clock)
    let response: Response | undefined
    try {
      const request = fetchPublic(url, {
        headers: { accept: 'application/json' },
        redirect: 'manual',
        signal: deadline.signal,
      })
      response = await deadline.race(request)
      if (response.status !== 200) return undefined
      return JSON.parse(
        new TextDecoder().decode(await deadline.race(readBody(response, url, LONGEST_DOCUMENT))),
      ) as unknown
    } catch {
      return undefined
    } finally {
      fetches -= 1
      leaveUnread(response?.body)
      deadline.clear()
    }
  }
}

/** A socket looks no address up, so one in the URL itself is checked here. */
function mayBeFetched(url: string, isAllowed: (address: string) => boolean): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  return protocol === 'https:' && username === '' && password === '' && (isIP(host) === 0 || isAllowed(host))
}
