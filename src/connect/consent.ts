import { createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { queryOf, singleParameter, type Outcome, type PageHandler } from './browser.js'
import type { PageRooms, Visit, Way } from './connect-rooms.js'
import { digest, flowOf, isSame, type FlowCookie } from './cookies.js'
import { agreedAt, isLiving, type Grant } from '../grants/grant.js'
import { showConnected, showStillConnected } from './disconnection.js'
import { readOwnForm, type Form } from './form.js'
import { MAY_REPEAT_FOR, type GivenAnswer } from './given-answers.js'
import { randomSecret, type OneTimeRecord } from './one-time.js'
import type { AccountAt } from './pages/pages.js'
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
    const query = queryOf(req)
    const secret = singleParameter(query, 'ticket')
    // The address by itself, as the doctor opens it, is no link that has failed.
    if (!query.has('ticket')) return { page: pages.linkUnusable() }
    const ticket = await tickets.read(secret)
    if (ticket === undefined) return failed('link', pages.linkUnusable())
    // Before the form, because nobody can agree before it is known what will be asked for.
    // A preview counts too, because it costs the user nothing: such a link lives on a little longer than others.
    const [scopes, client] = await Promise.all([
      way.scopes(ticket.value),
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
  { at, ...purpose }: Purpose & { readonly at: AccountAt },
): Promise<Outcome> {
  const ticket = await rooms.tickets.again(purpose)
  const { target: retry, cookie } = consentForm(rooms, req, ticket)
  return { page: rooms.pages.otherPerson({ at, retry }), cookies: cookie.headers }
}

/** The rooms of an answer. */
type AnswerRooms = FormRooms &
  Pick<PageRooms, 'tickets' | 'answers' | 'allowance' | 'grants' | 'pages' | 'origin' | 'failed' | 'clock' | OfferRoom>
type OfferRoom = 'offers' | 'config' | 'overviewUrl' | 'clientNames'

/** A form as it was sent, by a browser that has proved nothing yet. */
interface Sent extends Visit {
  readonly secret: string
  readonly form: Form | undefined
  /** The flow that the form's value names. Its cookie proves the rest of the value. */
  readonly flow: string
}

/**
 * The answer to the page. It spends the ticket, and a yes leads on. The same browser may send it again within a minute, as a second
 * click or a reload does: what was answered first counts, and a no counts in any case.
 */
export function answerConsent(rooms: AnswerRooms, way: Pick<Way, 'begin' | 'again' | 'abandon'>): PageHandler {
  const { tickets, pages, failed } = rooms
  return async (req, res) => {
    const form = await readOwnForm(rooms, req)
    const flow = form?.get('token')?.split('.')[0] ?? ''
    const sent: Sent = { req, res, form, flow, secret: singleParameter(queryOf(req), 'ticket') }
    const record = await tickets.read(sent.secret)
    if (record === undefined) return answerAgain(rooms, way, sent)
    const cookie = cookieOf(rooms, sent, record.value)
    const answer = answerOf(form, record.value)
    if (cookie === undefined || answer === undefined) return failed('form', pages.notFromHere())
    return answerFirst(rooms, way, sent, { record, cookie, answer })
  }
}

/** Returns the cookie that the form was made for, if this browser has it. */
function cookieOf({ cookies }: FormRooms, { req, form, flow }: Sent, { formKey }: Ticket): string | undefined {
  const token = form?.get('token') ?? ''
  return cookies.values(req, flow).find((value) => isSame(token, `${flow}.${formMac(formKey, value)}`))
}

/** The form that offers another account has one button only. */
function answerOf(form: Form | undefined, { selectAccount }: Ticket): 'yes' | 'no' | undefined {
  const answer = form?.get('answer') ?? (selectAccount ? 'yes' : undefined)
  return answer === 'yes' || answer === 'no' ? answer : undefined
}

async function answerFirst(
  rooms: AnswerRooms,
  way: Pick<Way, 'begin' | 'again' | 'abandon'>,
  sent: Sent,
  first: { readonly record: OneTimeRecord<Ticket>; readonly cookie: string; readonly answer: 'yes' | 'no' },
): Promise<Outcome> {
  const { tickets, answers, grants, pages, cookies, clock, failed } = rooms
  const { record, cookie, answer } = first
  const withdrawals = answer === 'yes' ? await grants.store.withdrawals(record.value.identity) : undefined
  const ticket: Ticket = { ...record.value, answer: sent.secret, withdrawals }
  const refusal = await refusalOf(rooms, sent, ticket, answer)
  if (refusal !== undefined) return refusal
  const begun = answer === 'yes' ? await way.begin(ticket, sent.req) : undefined
  const { login } = begun ?? {}
  const given = {
    answer,
    ticket,
    at: clock.now(),
    flow: sent.flow,
    cookieHash: digest(cookie),
    ...(login && { login }),
  }
  const isFirst = await answers.give(sent.secret, given)
  // Its record may have changed since, and it is of no more use in any case.
  if (!(await tickets.spend(record))) await tickets.drop(sent.secret)
  if (!isFirst) {
    await begun?.undo()
    return answerAgain(rooms, way, sent)
  }
  const kept = cookies.keep(sent.flow, cookie, MAY_REPEAT_FOR)
  if (begun === undefined) return { ...failed('declined', pages.declined()), cookies: [kept] }
  return { ...begun, cookies: [kept, ...begun.cookies] }
}

/** Returns the page for an answer that leads nowhere. A "no" is a record in the store too. */
async function refusalOf(
  rooms: AnswerRooms,
  { req }: Sent,
  { identity, clientId }: Ticket,
  answer: 'yes' | 'no',
): Promise<Outcome | undefined> {
  const { allowance, pages, failed } = rooms
  if (answer === 'yes' && (await askApp(rooms, req, identity)) === false) {
    return failed('person', pages.otherPerson({ at: 'app' }), { ...identity, clientId })
  }
  const wait = allowance.take(identity, clientId)
  return wait > 0 ? failed('too_many', pages.tooMany({ retryAfter: Math.ceil(wait / 1_000) })) : undefined
}

/** The link is spent. Only the browser that has answered is led on. */
async function answerAgain(rooms: AnswerRooms, way: Pick<Way, 'again' | 'abandon'>, sent: Sent): Promise<Outcome> {
  const { answers, grants, pages, failed } = rooms
  const given = await answers.repeatable(sent.req, sent.secret)
  if (given === undefined || cookieOf(rooms, sent, given.value.ticket) === undefined) {
    return failed('link', pages.linkUnusable())
  }
  const { ticket, connected } = given.value
  const answer = answerOf(sent.form, ticket)
  if (answer === undefined) return failed('form', pages.notFromHere())
  if (given.value.answer === 'no') return { page: pages.declined() }
  if (connected === true) return showStillConnected(rooms, sent.req, ticket)
  if (answer === 'yes') return (await refusalOf(rooms, sent, ticket, answer)) ?? way.again(given.value, ticket, sent)
  // From here on nothing comes of the yes, however far it has led.
  const grant = await grants.store.withdraw(ticket.identity, ticket.clientId)
  if (grant !== undefined && hasLedTo(grant, given.value)) {
    await answers.note(sent.secret, { connected: true })
    return showConnected(rooms, sent.req, ticket, true)
  }
  if (!(await answers.withdraw(given))) return answerAgain(rooms, way, sent)
  await way.abandon(given.value)
  return failed('declined', pages.declined())
}

/** Whether a yes has led to this grant, which the page may not have seen yet. */
function hasLedTo(grant: Grant, { ticket: { clientId }, at }: GivenAnswer): boolean {
  return isLiving(grant) && grant.clients.includes(clientId) && agreedAt(grant, clientId) >= at
}
