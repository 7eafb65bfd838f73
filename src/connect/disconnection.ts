import type { IncomingMessage } from 'node:http'
import { StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { consentingClient } from '../grants/grant.js'
import type { Outcome, PageHandler } from './browser.js'
import type { PageRooms } from './connect-rooms.js'
import { digest, flowOf, holds } from './cookies.js'
import { readOwnForm } from './form.js'
import { randomSecret, takeOnce } from './one-time.js'
import type { Page } from './pages/document.js'
import type { Purpose } from './tickets.js'

type OfferRooms = Pick<
  PageRooms,
  'offers' | 'cookies' | 'connect' | 'config' | 'pages' | 'overviewUrl' | 'clientNames' | 'grants' | 'allowance'
>

/**
 * The end of the way: the operator's page if there is one, otherwise a page with an offer to disconnect.
 *
 * @param isAgain whether this way has ended before. Such an end can come any number of times, and each offer is a record in the store
 */
export async function showConnected(
  rooms: OfferRooms,
  req: IncomingMessage,
  purpose: Purpose,
  isAgain = false,
): Promise<Outcome> {
  const { connect, pages, clientNames, allowance } = rooms
  if (connect.returnTo !== undefined) return { returnTo: connect.returnTo }
  const about = { client: await clientNames.of(purpose.clientId), callsItself: purpose.callsItself }
  const mayOffer = !isAgain || allowance.take(purpose.identity, purpose.clientId) === 0
  const offer = mayOffer ? await makeOffer(rooms, req, purpose) : undefined
  // Without the offer, the connection is as good as it is.
  if (offer === undefined) return { page: pages.connected({ ...about, overview: overviewPath(rooms) }) }
  const disconnect = { action: `${connect.path}/disconnect`, formValue: offer.secret }
  return { page: pages.connected({ ...about, disconnect, overview: overviewPath(rooms) }), cookies: offer.cookies }
}

/** Undefined: the store fails. */
async function makeOffer(
  { cookies, offers, config, grants }: OfferRooms,
  req: IncomingMessage,
  { identity, clientId: given }: Purpose,
): Promise<{ readonly secret: string; readonly cookies: readonly string[] } | undefined> {
  const secret = randomSecret()
  const cookie = cookies.issue(req, flowOf(secret))
  const clientId = consentingClient(config.grants?.consent, given)
  return grants.store
    .withdrawals(identity)
    .then((withdrawals) => offers.create({ identity, clientId, cookieHash: digest(cookie.value), withdrawals }, secret))
    .then(() => ({ secret, cookies: cookie.headers }))
    .catch(ifError(StorageError, () => undefined))
}

/** The same for another callback or form of the same yes, unless the user has disconnected since. */
export async function showStillConnected(rooms: OfferRooms, req: IncomingMessage, purpose: Purpose): Promise<Outcome> {
  if (await rooms.grants.store.isWithdrawn(purpose.identity, purpose)) return { page: rooms.pages.withdrawn() }
  return showConnected(rooms, req, purpose, true)
}

const overviewPath = ({ connect, overviewUrl }: Pick<PageRooms, 'connect' | 'overviewUrl'>): string | undefined =>
  overviewUrl === undefined ? undefined : connect.path

const noMore = (rooms: OfferRooms): Page =>
  overviewPath(rooms) === undefined ? rooms.pages.notFromHere() : rooms.pages.visitOver({ again: rooms.connect.path })

/** Disconnects in the browser in which the connection was made. */
export function disconnectInBrowser(
  rooms: OfferRooms & Pick<PageRooms, 'disconnect' | 'origin' | 'failed'>,
): PageHandler {
  const { offers, cookies, pages, disconnect, failed, grants } = rooms
  return async (req) => {
    const form = await readOwnForm(rooms, req)
    const secret = form?.get('token') ?? ''
    const flow = flowOf(secret)
    const claim = await takeOnce(offers, secret, ({ cookieHash }) => holds(cookies.values(req, flow), cookieHash))
    if (typeof claim === 'string') return failed('form', pages.notFromHere())
    // What is there now was connected after it, and may be another person's.
    const { identity, withdrawals } = claim.value
    if (await grants.store.isOver(identity, { withdrawals })) return failed('form', noMore(rooms))
    if (!(await claim.take())) return failed('form', pages.notFromHere())
    try {
      await disconnect(claim.value.identity, claim.value.clientId)
    } catch (error) {
      // Nothing was disconnected, so the button must work again.
      await offers.create(claim.value, secret).catch(() => undefined)
      throw error
    }
    return { page: pages.disconnected({ overview: overviewPath(rooms) }), cookies: [cookies.end(flow)] }
  }
}
