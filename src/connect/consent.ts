import { createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { queryOf, singleParameter, type Outcome, type PageHandler } from './browser.js'
import type { PageRooms, Way } from './connect-rooms.js'
import { flowOf, isSame, type FlowCookie } from './cookies.js'
import { isFromOwnPage, readForm, type Form } from './form.js'
import { randomSecret, takeOnce, type Claim } from './one-time.js'
import type { FormTarget } from './pages/shown.js'
import type { Purpose, Ticket } from './tickets.js'
import { askApp } from './who-is-there.js'

/** The rooms that a form of the question needs. */
type FormRooms = Pick<PageRooms, 'cookies' | 'connect'>

/**
 * The page on which the user sees which client asks, and for what. It changes nothing, because previews and scanners open links
 * too (RFC 9110 §9.2.1).
 */
export function showConsent(
  rooms: FormRooms & Pick<PageRooms, 'tickets' | 'pages' | 'failed' | 'clientNames'>,
  way: Pick<Way, 'scopes'>,
): PageHandler {
  const { tickets, pages, failed, clientNames } = rooms
  return async (req) => {
    const secret = singleParameter(queryOf(req), 'ticket')
    const ticket = await tickets.read(secret)
    if (ticket === undefined) return failed('link', pages.linkUnusable())
    // Before the form, because nobody can agree before it is known what will be asked for.
    // A preview counts too, because it costs the user nothing: such a link lives on a little longer than others.
    const [scopes, client] = await Promise.all([
      way.scopes(),
      clientNames.of(ticket.value.clientId),
      req.method === 'GET' && tickets.opened(ticket),
    ])
    const { target, cookie } = consentForm(rooms, req, { ...ticket.value, secret })
    return {
      page: pages.consent({ client, callsItself: ticket.value.callsItself, scopes, ...target }),
      cookies: cookie.headers,
    }
  }
}

/** Makes a form that only the browser with the cookie can send. An MCP client knows the link, and might send the form itself. */
function consentForm(
  { cookies, connect }: FormRooms,
  req: IncomingMessage,
  { secret, formKey }: Pick<Ticket, 'formKey'> & { readonly secret: string },
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

/** Offers this browser another round with the same purpose, because the person may have another account there. */
export async function tryAgain(
  rooms: FormRooms & Pick<PageRooms, 'tickets' | 'pages'>,
  req: IncomingMessage,
  purpose: Purpose,
): Promise<Outcome> {
  const ticket = await rooms.tickets.again(purpose)
  const { target: retry, cookie } = consentForm(rooms, req, ticket)
  return { page: rooms.pages.otherPerson({ retry }), cookies: cookie.headers }
}

/** The answer to the page. It spends the ticket, and a yes leads on. */
export function answerConsent(
  rooms: FormRooms & Pick<PageRooms, 'tickets' | 'allowance' | 'pages' | 'origin' | 'failed'>,
  way: Pick<Way, 'begin'>,
): PageHandler {
  const { tickets, pages, cookies, origin, failed } = rooms
  return async (req) => {
    const form = isFromOwnPage(req, origin) ? await readForm(req) : undefined
    // The flow that the form's value names. Its cookie proves the rest of the value.
    const flow = form?.get('token')?.split('.')[0] ?? ''
    const secret = singleParameter(queryOf(req), 'ticket')
    const claim = await takeOnce(tickets, secret, ({ formKey }) =>
      cookies.values(req, flow).some((value) => isSame(form?.get('token') ?? '', `${flow}.${formMac(formKey, value)}`)),
    )
    if (claim === 'unknown') return failed('link', pages.linkUnusable())
    const answer = claim === 'other browser' ? undefined : answerOf(form, claim.value)
    if (claim === 'other browser' || answer === undefined) return failed('form', pages.notFromHere())
    const ended = cookies.end(flow)
    if (answer === 'yes') return goOn(rooms, way, req, { ...claim, ended })
    if (!(await claim.take())) return failed('link', pages.linkUnusable())
    return { ...failed('declined', pages.declined()), cookies: [ended] }
  }
}

/** The form that offers another account has one button only. */
function answerOf(form: Form | undefined, { selectAccount }: Ticket): 'yes' | 'no' | undefined {
  const answer = form?.get('answer') ?? (selectAccount ? 'yes' : undefined)
  return answer === 'yes' || answer === 'no' ? answer : undefined
}

async function goOn(
  rooms: Pick<PageRooms, 'connect' | 'allowance' | 'pages' | 'failed'>,
  way: Pick<Way, 'begin'>,
  req: IncomingMessage,
  ticket: Claim<Ticket> & { readonly ended: string },
): Promise<Outcome> {
  const { allowance, pages, failed } = rooms
  const { identity, clientId } = ticket.value
  if ((await askApp(rooms, req, identity)) === false)
    return failed('person', pages.otherPerson({}), { ...identity, clientId })
  const wait = allowance.take(identity)
  if (wait > 0) return failed('too_many', pages.tooMany({ retryAfter: Math.ceil(wait / 1_000) }))
  const { undo, ...first } = await way.begin(ticket.value, req)
  if (await ticket.take()) return { ...first, cookies: [ticket.ended, ...(first.cookies ?? [])] }
  await undo()
  return failed('link', pages.linkUnusable())
}
