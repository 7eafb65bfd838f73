import type { RouteHandler } from '../http/router.js'
import { goBack, refuseHead } from './answers.js'
import { browserIs } from './browser-identity.js'
import { completeConnection } from './completion.js'
import { type ConnectParts, needCodeGrant } from './connect-parts.js'
import { digest, flowOf, isSame } from './cookies.js'
import { sendPage } from './pages/pages.js'
import { queryOf, singleParameter } from './query.js'

/** Where the authorization server sends the browser: the one place where a connection comes about. */
export function receiveAnswer(parts: ConnectParts): RouteHandler {
  const { pages, pending, cookies, connect, failed } = parts
  const codeGrant = needCodeGrant(parts)
  return async (req, res) => {
    // It changes something, so it is not for link previews.
    if (req.method === 'HEAD') return refuseHead(res)
    const query = queryOf(req)
    const state = singleParameter(query, 'state') ?? ''
    const record = await pending.read(state)
    if (record === undefined) {
      failed('state')
      return sendPage(req, res, pages.badAnswer())
    }
    const flow = flowOf(state)
    // Not spent: who has only seen the state must not end what another browser has begun.
    if (!cookies.values(req, flow).some((value) => isSame(digest(value), record.value.cookieHash))) {
      failed('browser')
      return sendPage(req, res, pages.notFromHere())
    }
    // What can be away is asked for while nothing is spent, so that the page can simply be loaded again.
    const as = await codeGrant.metadata()
    if (connect.authenticateBrowser === undefined && codeGrant.hasIdToken) await parts.loadKeys()
    const appSays = await browserIs(parts, req, record.value.identity)
    // From here on a replay finds nothing, and the code goes out once at most.
    if (!(await pending.spend(record))) {
      failed('state')
      return sendPage(req, res, pages.badAnswer())
    }
    const ended = cookies.end(flow)
    // Also when what follows fails: the flow is over.
    res.appendHeader('Set-Cookie', ended)
    const outcome = await completeConnection(parts, req, { as, query, state, pending: record.value, appSays })
    if (outcome.connected === true && connect.returnTo !== undefined) return goBack(res, connect.returnTo)
    sendPage(req, res, outcome.page, outcome.cookies ?? [])
  }
}
