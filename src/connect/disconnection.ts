import type { IncomingMessage } from 'node:http'
import { StorageError } from '../errors/errors.js'
import { consentingClient } from '../grants/grant.js'
import type { RouteHandler } from '../http/router.js'
import type { ConnectParts, DisconnectOffer } from './connect-parts.js'
import { digest, flowOf, isSame, type FlowCookie } from './cookies.js'
import { isFromOwnPage, readForm } from './form.js'
import type { LoginOwner } from './login-flow.js'
import { randomSecret } from './one-time.js'
import { sendPage, type FormTarget } from './pages/pages.js'

/**
 * A form with which this browser, and no other, can undo the connection; undefined when the store fails, which leaves the
 * connection as good as it is.
 */
export async function offerToDisconnect(
  { offers, cookies, connect, config }: ConnectParts,
  req: IncomingMessage,
  { identity, clientId }: LoginOwner,
): Promise<{ readonly target: FormTarget; readonly cookie: FlowCookie } | undefined> {
  const secret = randomSecret()
  const cookie = cookies.issue(req, flowOf(secret))
  const offer: DisconnectOffer = {
    identity,
    clientId: consentingClient(config.grants?.consent, clientId),
    cookieHash: digest(cookie.value),
  }
  try {
    await offers.create(offer, secret)
  } catch (error) {
    if (error instanceof StorageError) return undefined
    throw error
  }
  return { target: { action: `${connect.path}/disconnect`, formValue: secret }, cookie }
}

/** What the button on that page does. */
export function disconnectInBrowser(parts: ConnectParts): RouteHandler {
  const { offers, cookies, pages, disconnect, origin, failed } = parts
  return async (req, res) => {
    const form = isFromOwnPage(req, origin) ? await readForm(req) : undefined
    const secret = form?.get('token') ?? ''
    const offer = await offers.read(secret)
    const flow = flowOf(secret)
    const isBrowsers =
      offer !== undefined && cookies.values(req, flow).some((value) => isSame(digest(value), offer.value.cookieHash))
    if (!isBrowsers || !(await offers.spend(offer))) {
      failed('form')
      return sendPage(req, res, pages.notFromHere())
    }
    try {
      await disconnect(offer.value.identity, offer.value.clientId)
    } catch (error) {
      // Nothing was disconnected, so the button is to work again.
      await offers.create(offer.value, secret).catch(() => undefined)
      throw error
    }
    sendPage(req, res, pages.disconnected(), [cookies.end(flow)])
  }
}
