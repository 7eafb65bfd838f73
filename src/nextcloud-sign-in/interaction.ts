import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Interaction, Provider } from 'oidc-provider'
import type { Outcome } from '../connect/browser.js'
import { holds, isSame } from '../connect/cookies.js'
import { isFromOwnPage, readForm } from '../connect/form.js'
import { rawPathOf } from '../http/router.js'
import { recordKey } from '../grants/record-key.js'
import { leaveForNextcloud } from './leave.js'
import { endSession } from './model-adapter.js'
import { PATHS, questionIn } from './paths.js'
import { targetOf } from './redirect-uri.js'
import type { BoundResult, ForClient, SignInResult, SignInRooms } from './sign-in-rooms.js'
import { grantIdOf, isEnded, loginOf } from './withdrawn.js'

/** One question to a person: the authorization request of an MCP client, in the browser that brought it. */
interface Question {
  readonly provider: Provider
  readonly interaction: Interaction
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/** `GET`: shows the question. It changes nothing. */
export async function askConsent(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<Outcome> {
  const question = await findQuestion(rooms, req, res)
  if (question === undefined) return { page: rooms.signInPages.unknown() }
  // The question would be about nothing: Nextcloud has ended all connections of a client that is deleted.
  await rooms.codeGrant.checkClient()
  const { interaction } = question
  const { params, uid } = interaction
  const known = await knownUser(rooms, question)
  if (known === 'another') return askAnew(rooms, question)
  const asked = {
    ...(await rooms.nameOf(text(params['client_id']), req)),
    goesTo: targetOf(text(params['redirect_uri'])),
    scopes: scopesOf(rooms, interaction).map(([, meaning]) => meaning),
    user: known?.user,
  }
  const form = { action: `${PATHS.interaction}/${uid}`, formValue: await rooms.questions.formMac(uid) }
  return { page: rooms.signInPages.consent(asked, form) }
}

/** `POST`: the answer. A yes leads to Nextcloud, unless the person has signed in there before. */
export async function takeAnswer(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<Outcome> {
  const { signInPages, issuer } = rooms
  const question = await findQuestion(rooms, req, res)
  if (question === undefined) return { page: signInPages.unknown() }
  const { uid } = question.interaction
  const form = isFromOwnPage(req, issuer.origin) ? await readForm(req) : undefined
  const answer = form?.get('answer')
  const isOurs = isSame(form?.get('token') ?? '', await rooms.questions.formMac(uid))
  if (!isOurs || (answer !== 'yes' && answer !== 'no')) return { page: signInPages.notFromHere() }
  if (answer === 'no') return goOn(rooms, await deny(question))
  await rooms.codeGrant.checkClient()
  const known = await knownUser(rooms, question)
  if (known === 'another') return askAnew(rooms, question)
  if (known !== undefined) return goOn(rooms, await grantTo(rooms, question, known))
  const { interaction } = question
  const before = await signedInBefore(rooms, interaction)
  const way = { interaction: interaction.uid, clientId: text(interaction.params['client_id']), before }
  const { url, cookies } = await leaveForNextcloud(rooms, way, req)
  return { page: signInPages.goOn(url, 'nextcloud'), cookies }
}

/** `GET …/done`: the browser comes from the callback, and goes back to the MCP client. */
export async function finish(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<Outcome> {
  const question = await findQuestion(rooms, req, res)
  const result = question && (await takeResult(rooms, req, question.interaction.uid))
  if (question === undefined || result === undefined) return { page: rooms.signInPages.unknown() }
  // A no in another window is the last word.
  if ('denied' in result || isAnswered(question.interaction)) return { returnTo: await deny(question) }
  return { returnTo: await grantTo(rooms, question, result) }
}

/** Whether a question still waits for its answer: it has not run out, and nobody has said no since the yes. */
export async function isOpen({ provider }: Pick<SignInRooms, 'provider'>, interaction: string): Promise<boolean> {
  const found = await (await provider()).Interaction.find(interaction)
  return found !== undefined && !isAnswered(found)
}

const isAnswered = ({ result }: Interaction): boolean => result !== undefined

/** Keeps the end of a way to Nextcloud until the browser fetches it. */
export async function keepResult({ grants }: SignInRooms, interaction: string, result: BoundResult): Promise<void> {
  const key = recordKey('sign-in', grants.owner, 'result', interaction)
  const before = await grants.records.peek(key)
  await grants.records.write(key, result, before?.version ?? null, RESULT_LIFE)
}

/**
 * Notes that a code is sent for a question, before it is.
 *
 * @returns `before` if one was sent already; else the way to take the note back, because Nextcloud was unavailable
 */
export async function noteSent(
  { grants }: SignInRooms,
  interaction: string,
): Promise<'before' | { readonly forget: () => Promise<void> }> {
  const key = recordKey('sign-in', grants.owner, 'code', interaction)
  const version = await grants.records.write(key, {}, null, RESULT_LIFE)
  if (version === null) return 'before'
  return {
    forget: async () => {
      await grants.records.remove(key, version)
    },
  }
}

/** Milliseconds. */
const RESULT_LIFE = 600_000

/** The result is for the browser that went to Nextcloud: the cookie of the question alone may have been planted there. */
async function takeResult(
  { grants, cookies }: SignInRooms,
  req: IncomingMessage,
  interaction: string,
): Promise<BoundResult | undefined> {
  const key = recordKey('sign-in', grants.owner, 'result', interaction)
  const record = await grants.records.readIfOpens(key)
  if (record?.value === undefined) return undefined
  const result = record.value as BoundResult
  if (!holds(cookies.values(req, result.flow), result.cookieHash)) return undefined
  return (await grants.records.remove(key, record.version)) ? result : undefined
}

/** The question that the path names, if this browser has brought it. Undefined also if it would be a question about nothing. */
async function findQuestion(
  rooms: SignInRooms,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<Question | undefined> {
  const question = questionIn(rawPathOf(req))?.question
  if (question === undefined || !(await rooms.questions.admit(req, question))) return undefined
  const provider = await rooms.provider()
  const interaction = await provider.interactionDetails(req, res).catch(unlessUnknown)
  if (interaction === undefined) return undefined
  return { provider, interaction, req, res }
}

/** @throws whatever is not "there is no such interaction in this browser" */
function unlessUnknown(error: unknown): undefined {
  if (error instanceof Error && error.name === 'SessionNotFound') return undefined
  throw error
}

/**
 * The person who has signed in here before, and need not do so again. `another`: somebody else has signed in in this browser since the
 * question was made, or nobody is signed in any more.
 */
async function knownUser(
  rooms: SignInRooms,
  question: Question,
): Promise<{ readonly user: string; readonly withdrawals: number } | 'another' | undefined> {
  const { prompt, session } = question.interaction
  if (prompt.name === 'login' || session?.accountId === undefined) return undefined
  const now = await sessionOf(question)
  const { accountId } = now
  if (accountId !== session.accountId) return 'another'
  const identity = { issuer: rooms.issuer.origin, subject: accountId }
  // Read first: what is taken back after it ends what comes of the answer.
  const withdrawals = await rooms.grants.store.withdrawals(identity)
  return (await isEnded(rooms, identity, now)) ? 'another' : { user: accountId, withdrawals }
}

/** The person of the session in which a question was made, with what they have taken back before this answer. */
async function signedInBefore({ grants, issuer }: SignInRooms, { session }: Interaction): Promise<ForClient['before']> {
  const user = session?.accountId
  if (user === undefined) return undefined
  return { user, withdrawals: await grants.store.withdrawals({ issuer: issuer.origin, subject: user }) }
}

const sessionOf = ({ provider, req, res }: Question) => provider.Session.get(provider.createContext(req, res))

/** The question must name the person who answers it: the same request, made once more. */
function askAnew({ issuer, signInPages }: SignInRooms, { interaction: { params } }: Question): Outcome {
  const again = new URL(PATHS.authorization, issuer)
  for (const [name, value] of Object.entries(params)) {
    for (const one of [value].flat()) if (typeof one === 'string') again.searchParams.append(name, one)
  }
  return { page: signInPages.anotherPerson(again.href) }
}

/** Returns the name and the meaning of each scope that is asked for and known here. */
function scopesOf({ scopes }: SignInRooms, { params }: Interaction): readonly (readonly [string, string])[] {
  const asked = text(params['scope']).split(' ')
  return [...scopes].filter(([scope]) => asked.includes(scope))
}

/** A redirect would be bound by the `form-action` of the page before, and the client may be an app or on another origin. */
function goOn({ signInPages }: SignInRooms, returnTo: string): Outcome {
  return { page: signInPages.goOn(returnTo, 'app') }
}

function deny({ provider, req, res }: Question): Promise<string> {
  const result = { error: 'access_denied', error_description: 'The person at the browser said no' }
  return provider.interactionResult(req, res, result)
}

/** Gives the client exactly what the person has just agreed to, unless it was taken back since. */
async function grantTo(
  rooms: SignInRooms,
  question: Question,
  { user, withdrawals }: Exclude<SignInResult, { readonly denied: true }>,
): Promise<string> {
  const { provider, interaction, req, res } = question
  await forgetOther(rooms, question, user)
  const { params } = interaction
  const clientId = text(params['client_id'])
  const identity = { issuer: rooms.issuer.origin, subject: user }
  if ((await rooms.grants.store.agree(identity, clientId, withdrawals)) === 'withdrawn') return deny(question)
  const grant = new provider.Grant({ accountId: user, clientId })
  grant.jti = grantIdOf(withdrawals)
  const scopes = scopesOf(rooms, interaction)
    .map(([scope]) => scope)
    .join(' ')
  grant.addOIDCScope(
    text(params['scope'])
      .split(' ')
      .filter((scope) => scope === 'openid' || scope === 'offline_access')
      .join(' '),
  )
  for (const resource of [params['resource']].flat()) grant.addResourceScope(text(resource), scopes)
  const consent = { grantId: await grant.save() }
  return provider.interactionResult(req, res, { login: loginOf(user, withdrawals), consent })
}

/** Ends the session of another person in this browser: oidc-provider would ask about it on a page with a script. */
async function forgetOther(rooms: SignInRooms, question: Question, user: string): Promise<void> {
  const { interaction } = question
  const session = await sessionOf(question)
  const isAnother = session.accountId !== undefined && session.accountId !== user
  if (isAnother) await endSession(rooms.grants, session.uid)
  if (interaction.session === undefined || (!isAnother && interaction.session.uid === session.uid)) return
  delete (interaction as { session?: unknown }).session
  await interaction.save(interaction.exp - Math.floor(Date.now() / 1_000))
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')
