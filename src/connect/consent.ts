import { createHmac } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AuthorizationSecrets } from '../authorization-server/authorization-request.js'
import type { RouteHandler } from '../http/router.js'
import { browserIs, checkSubjects } from './browser-identity.js'
import { type ConnectParts, needCodeGrant } from './connect-parts.js'
import { digest, flowOf, isSame, type FlowCookie } from './cookies.js'
import { isFromOwnPage, readForm, type Form } from './form.js'
import type { Logins } from './login-flow.js'
import type { OneTimeRecord } from './one-time.js'
import { randomSecret } from './one-time.js'
import { sendPage, type FormTarget } from './pages/pages.js'
import { queryOf, singleParameter } from './query.js'
import type { Ticket } from './tickets.js'
import { waitingPage } from './waiting-page.js'

/**
 * The page on which the user sees who asks for what. It changes nothing, since links are also opened by previews and scanners
 * (RFC 9110 §9.2.1).
 */
export function showConsent(parts: ConnectParts): RouteHandler {
  const { tickets, pages, codeGrant, logins, failed } = parts
  return async (req, res) => {
    const secret = singleParameter(queryOf(req), 'ticket') ?? ''
    const ticket = await tickets.read(secret)
    if (ticket === undefined) {
      failed('link')
      return sendPage(req, res, pages.linkUnusable())
    }
    // Nobody can agree before it is known what will be asked for.
    const as = await codeGrant?.metadata()
    // An app password is for the whole account, whatever is asked for on the way to it.
    const scopes = as === undefined || logins !== undefined ? [] : (codeGrant?.scopes(as) ?? [])
    const { target, cookie } = consentForm(parts, req, secret, ticket.value)
    const { clientId: clientName } = ticket.value
    sendPage(req, res, pages.consent({ clientName, scopes, ...target }), cookie.headers)
  }
}

/** A form that only the browser with the cookie can send: an MCP client knows the link, and might send the form itself. */
export function consentForm(
  { cookies, connect }: ConnectParts,
  req: IncomingMessage,
  secret: string,
  { formKey }: Pick<Ticket, 'formKey'>,
): { readonly target: FormTarget; readonly cookie: FlowCookie } {
  const cookie = cookies.issue(req, flowOf(randomSecret()))
  return {
    cookie,
    target: {
      action: `${connect.path}/connect?ticket=${secret}`,
      formValue: `${cookie.flow}.${formMac(formKey, cookie.value)}`,
    },
  }
}

function formMac(formKey: string, cookie: string): string {
  return createHmac('sha256', Buffer.from(formKey, 'base64url')).update(cookie).digest('base64url')
}

/** The answer to the page: it spends the ticket, and a yes sends the browser on to the authorization server. */
export function answerConsent(parts: ConnectParts): RouteHandler {
  const { tickets, pages, cookies, origin, failed } = parts
  return async (req, res) => {
    const secret = singleParameter(queryOf(req), 'ticket') ?? ''
    const ticket = await tickets.read(secret)
    if (ticket === undefined) {
      failed('link')
      return sendPage(req, res, pages.linkUnusable())
    }
    const form = isFromOwnPage(req, origin) ? await readForm(req) : undefined
    const flow = form && flowOfForm(parts, req, form, ticket.value)
    const answer = form?.get('answer') ?? (ticket.value.selectAccount ? 'yes' : undefined)
    if (flow === undefined || (answer !== 'yes' && answer !== 'no')) {
      failed('form')
      return sendPage(req, res, pages.notFromHere())
    }
    if (answer === 'no') {
      if (!(await tickets.spend(ticket))) return used(parts, req, res)
      failed('declined')
      return sendPage(req, res, pages.declined(), [cookies.end(flow)])
    }
    if ((await browserIs(parts, req, ticket.value.identity)) === false) {
      failed('person')
      return sendPage(req, res, pages.otherPerson({}))
    }
    const wait = parts.allowance.take(ticket.value.identity)
    if (wait > 0) {
      failed('too_many')
      return sendPage(req, res, pages.tooMany({ retryAfter: Math.ceil(wait / 1_000) }))
    }
    await goOn(parts, req, res, ticket, flow)
  }
}

/** The flow whose cookie this form belongs to, if the browser has it. */
function flowOfForm(
  { cookies }: ConnectParts,
  req: IncomingMessage,
  form: Form,
  { formKey }: Ticket,
): string | undefined {
  const [flow = '', mac = '', ...rest] = form.get('token')?.split('.') ?? []
  if (rest.length > 0) return undefined
  return cookies.values(req, flow).some((value) => isSame(mac, formMac(formKey, value))) ? flow : undefined
}

async function goOn(
  parts: ConnectParts,
  req: IncomingMessage,
  res: ServerResponse,
  ticket: OneTimeRecord<Ticket>,
  flow: string,
): Promise<void> {
  const { codeGrant, logins, tickets, pages, cookies } = parts
  if (codeGrant === undefined && logins !== undefined) return goOnToNextcloud(parts, logins, req, res, ticket, flow)
  const { selectAccount } = ticket.value
  // Whatever can fail comes before the ticket is spent, so that the user can simply try again.
  const signIn = needCodeGrant(parts)
  const as = await signIn.metadata()
  checkSubjects(parts, as)
  const secrets = signIn.secrets()
  const url = await signIn.authorizationUrl(as, secrets, selectAccount)
  // A fresh cookie: somebody who has planted the one before does not know this one.
  const cookie = cookies.issue(req, flowOf(secrets.state))
  await remember(parts, ticket.value, secrets, cookie)
  if (!(await tickets.spend(ticket))) {
    await parts.pending.drop(secrets.state)
    return used(parts, req, res)
  }
  // A redirect would not do: form-action (CSP) also holds for where a form's answer leads, and that is up to the server there.
  const page = pages.goingOn({ url: url.href, host: url.host })
  sendPage(req, res, page, [cookies.end(flow), ...cookie.headers])
}

/** The app's own sign-in has said who it is. */
async function goOnToNextcloud(
  parts: ConnectParts,
  logins: Logins,
  req: IncomingMessage,
  res: ServerResponse,
  ticket: OneTimeRecord<Ticket>,
  flow: string,
): Promise<void> {
  const { identity, clientId } = ticket.value
  const { secret, login } = await logins.begin({ identity, clientId })
  if (!(await parts.tickets.spend(ticket))) {
    await logins.drop(secret)
    return used(parts, req, res)
  }
  const { page, cookies } = waitingPage(parts, req, secret, login)
  sendPage(req, res, page, [parts.cookies.end(flow), ...cookies])
}

async function remember(
  { pending }: ConnectParts,
  { identity, clientId }: Ticket,
  { state, nonce, verifier }: AuthorizationSecrets,
  cookie: FlowCookie,
): Promise<void> {
  await pending.create({ identity, clientId, nonce, verifier, cookieHash: digest(cookie.value) }, state)
}

function used({ pages, failed }: ConnectParts, req: IncomingMessage, res: ServerResponse): void {
  failed('link')
  sendPage(req, res, pages.linkUnusable())
}
