import { createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isConfigured } from '../authorization-server/known-issuer.js'
import { isLiving, type Identity } from '../grants/grant.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { MODES } from '../modes.js'
import type { PageRooms, SignInServer } from './connect-rooms.js'
import { flowOf } from './cookies.js'
import { ONE_TIME_LIFE, randomSecret } from './one-time.js'
import type { FormTarget } from './pages/shown.js'
import { redeemAnswer, type ReceiveVisitor, type Redeem } from './sign-in.js'
import { checkSubjects } from './who-is-there.js'

type VisitRooms = Pick<PageRooms, 'connect' | 'cookies'>

/** Milliseconds for which a sign-in for the page counts. */
const VISIT_LIFE = ONE_TIME_LIFE
/** 256 bits in base64url. */
const SECRET = /^[\w-]{43}$/

/** The cookie of the page. There is one for all tabs, so that each of them goes on working. */
const flowOfPage = ({ connect }: Pick<PageRooms, 'connect'>): string => flowOf(`connections ${connect.path}`)

/** Returns the page's cookie in this browser; undefined if there is none, or a second one of the name was planted. */
export function heldCookie(rooms: VisitRooms, req: IncomingMessage): string | undefined {
  const [value, ...more] = rooms.cookies.values(req, flowOfPage(rooms))
  return value !== undefined && more.length === 0 && SECRET.test(value) ? value : undefined
}

/** Gives this browser the page's cookie for ten more minutes. Without a value, it is a fresh one. */
export function issueCookie(rooms: VisitRooms, req: IncomingMessage, value = randomSecret()) {
  return rooms.cookies.issue(req, flowOfPage(rooms), { value, life: VISIT_LIFE })
}

/** Returns a form that only the browser with this cookie can send, and only for this purpose. */
export function boundForm({ connect }: Pick<PageRooms, 'connect'>, cookie: string, purpose: string): FormTarget {
  return { action: connect.path, formValue: createHmac('sha256', cookie).update(purpose).digest('base64url') }
}

/**
 * Returns the person at the browser, as the app's own sign-in says; without one, as a sign-in for this page has said within the last
 * ten minutes.
 *
 * @throws {StorageError} the store cannot be asked
 */
export async function whoVisits(
  rooms: VisitRooms & Pick<PageRooms, 'visits' | 'providers'>,
  req: IncomingMessage,
  cookie: string | undefined,
): Promise<Identity | undefined> {
  const { authenticateBrowser } = rooms.connect
  if (authenticateBrowser !== undefined) {
    const person = identityIn(await authenticateBrowser(req))
    return person !== undefined && (await isConfigured(rooms.providers, person.issuer)) ? person : undefined
  }
  return cookie === undefined ? undefined : (await rooms.visits.read(cookie))?.value.identity
}

/** Returns the user whom the app names. Whatever its type says, it comes from the app. */
function identityIn(given: Partial<Identity> | null | undefined): Identity | undefined {
  const { issuer, subject } = given ?? {}
  if (typeof issuer !== 'string' || typeof subject !== 'string') return undefined
  return issuer === '' || subject === '' ? undefined : { issuer, subject }
}

/** Takes in the person whom the ID token names, for ten minutes. */
export function receiveVisitor(rooms: PageRooms): ReceiveVisitor {
  const { pages, failed, visits, cookies, connect, overviewUrl } = rooms
  return async (req, callback, { identity: codeGrant, verifyIdToken, client }) => {
    checkSubjects(rooms, callback.as)
    const { as, pending } = callback
    const redeem: Redeem = (parameters) => codeGrant.redeem(as, parameters, pending.verifier)
    const signedIn = await redeemAnswer({ codeGrant, verifyIdToken, redeem }, callback)
    if ('reason' in signedIn) {
      const { reason, details } = signedIn
      if (reason === 'too_many') return failed(reason, pages.tooManyRefused(), details)
      return failed(reason, pages.visitFailed({ reason, error: details.error, again: connect.path }), details)
    }
    const { tokens, idToken: identity } = signedIn
    if (typeof identity === 'string' || overviewUrl === undefined) {
      return failed('id_token', pages.visitFailed({ reason: 'id_token', again: connect.path }))
    }
    if (tokens.refreshToken !== undefined)
      rooms.grants.background(endToken({ ...rooms, client }, identity, tokens.refreshToken))
    const held = heldCookie(rooms, req)
    // Never the cookie that the browser brought: whoever has planted it would see the page too.
    const { secret } = await visits.create({ identity })
    if (held !== undefined) await visits.drop(held)
    return { returnTo: overviewUrl, cookies: issueCookie({ connect, cookies }, req, secret).headers }
  }
}

/**
 * Revokes a refresh token that came along, unasked. Where the user's connection is a refresh token too, this one is left to end by itself,
 * because a server may end everything that a user gave this client with any token of it (RFC 7009 §2.1).
 */
async function endToken(
  { grants, client, nextcloud }: Pick<PageRooms, 'grants' | 'nextcloud'> & Pick<SignInServer, 'client'>,
  identity: Identity,
  refreshToken: string,
): Promise<void> {
  const stored =
    MODES[nextcloud.mode].signInFor === 'grant'
      ? await grants.store.look(identity).catch(ifError(SealedValueError, () => 'unreadable' as const))
      : undefined
  if (stored === 'unreadable') return
  if (stored === undefined || !isLiving(stored.grant)) await client.revoke(refreshToken)
}

/** Ends a visit in this browser and everywhere else. */
export async function endVisit(
  rooms: VisitRooms & Pick<PageRooms, 'visits'>,
  cookie: string,
): Promise<readonly string[]> {
  await rooms.visits.drop(cookie)
  return [rooms.cookies.end(flowOfPage(rooms))]
}
