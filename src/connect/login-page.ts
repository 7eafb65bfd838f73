import type { IncomingMessage, ServerResponse } from 'node:http'
import { StorageError } from '../errors/errors.js'
import type { RouteHandler } from '../http/router.js'
import { goBack, refuseHead } from './answers.js'
import { tryAgain } from './completion.js'
import type { ConnectParts } from './connect-parts.js'
import { flowOf } from './cookies.js'
import { offerToDisconnect } from './disconnection.js'
import type { Login, Logins } from './login-flow.js'
import { sendPage } from './pages/pages.js'
import { queryOf, singleParameter } from './query.js'
import { loginAddress } from './waiting-page.js'

/** `GET …/login`: what that page becomes, every few seconds, until the user has agreed in Nextcloud. */
export function showLogin(parts: ConnectParts, logins: Logins): RouteHandler {
  const { pages, cookies, failed } = parts
  return async (req, res) => {
    // It may be the request that stores a connection.
    if (req.method === 'HEAD') return refuseHead(res)
    const flow = singleParameter(queryOf(req), 'flow') ?? ''
    const secret = cookies.values(req, flow).find((value) => flowOf(value) === flow)
    if (secret === undefined) {
      failed('browser')
      return sendPage(req, res, pages.notFromHere())
    }
    const login = await logins.look(secret).catch((error: unknown) => {
      if (error instanceof StorageError) return error
      throw error
    })
    if (login instanceof StorageError) {
      // It may be stored in a moment, and the page is to say so then.
      const { retryAfter } = login
      const page = {
        ...pages.unavailable({ retryAfter }),
        refreshTo: loginAddress(parts, flow),
        refreshAfter: retryAfter,
      }
      return sendPage(req, res, page)
    }
    if (login === undefined) {
      failed('state')
      return sendPage(req, res, pages.badAnswer(), [cookies.end(flow)])
    }
    if (login.outcome === undefined && parts.clock.now() < login.endsAt) {
      const { clientId: clientName } = login
      return sendPage(req, res, pages.waiting({ login: login.login, clientName, next: loginAddress(parts, flow) }))
    }
    res.appendHeader('Set-Cookie', cookies.end(flow))
    // Its end is shown once: each showing may store something that the page leads to. One that is merely over may still be stored.
    if (login.outcome !== undefined && !(await logins.spend(secret))) return sendPage(req, res, pages.badAnswer())
    await showEnd(parts, req, res, login)
  }
}

async function showEnd(parts: ConnectParts, req: IncomingMessage, res: ServerResponse, login: Login): Promise<void> {
  const { pages, connect, failed } = parts
  switch (login.outcome) {
    case 'connected': {
      if (connect.returnTo !== undefined) return goBack(res, connect.returnTo)
      const offer = await offerToDisconnect(parts, req, login)
      const page = pages.connected({ clientName: login.clientId, ...(offer && { disconnect: offer.target }) })
      return sendPage(req, res, page, offer?.cookie.headers)
    }
    case 'person': {
      const { page, cookies } = await tryAgain(parts, req, login)
      return sendPage(req, res, page, cookies)
    }
    case 'answer':
      return sendPage(req, res, { ...pages.badAnswer(), status: 502 })
    case 'failed':
      return sendPage(req, res, pages.failed())
    case undefined:
      failed('link')
      return sendPage(req, res, pages.linkUnusable())
  }
}
