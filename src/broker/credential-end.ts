import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { CodeAnswer, CodeGrant } from '../authorization-server/code-grant.js'
import type { RefreshAnswer, TokenAnswer } from '../authorization-server/token-answer.js'
import { sleepThrough, type Clock } from '../clock.js'
import { StorageError, TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { AppPassword, Credential, Identity, SentCode } from '../grants/grant.js'
import type { Lease } from '../grants/lease.js'
import type { Grants } from '../grants/open-grants.js'
import { presented, type PendingDeletion } from '../grants/pending-deletions.js'
import type { CodeShares, PutOff } from '../local-options.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { FreshCredentials } from '../nextcloud/fresh-credentials.js'
import type { SignIns } from '../nextcloud/sign-ins.js'

/** The rooms that the end of a credential needs. */
export interface CredentialEndRooms {
  readonly grants: Pick<
    Grants,
    'store' | 'deletions' | 'newDeletion' | 'acquireLease' | 'leaseLife' | 'background' | 'isEnding'
  >
  /** Returns the authorization server of an issuer, or the only one; undefined if none is configured for it. */
  readonly serverOf: (issuer: string) => GrantServer | undefined
  /** `Quirks.endsAlone` of the authorization server. */
  readonly endsAlone: boolean
  readonly appPasswords: Pick<AppPasswords, 'remove'>
  readonly freshCredentials: Pick<FreshCredentials, 'endToken'>
  readonly codes: Pick<CodeShares, 'sendAgain' | 'refreshToEnd'>
  readonly signIns: SignIns
  readonly clock: Clock
}

/** An authorization server that has given grants. */
export interface GrantServer {
  readonly client: Pick<AuthorizationServerClient, 'revoke' | 'refresh'>
  /** Undefined if no user signs in at the authorization server. */
  readonly codeGrant: Pick<CodeGrant, 'metadata' | 'readAnswer' | 'redeem'> | undefined
  /** The issuer of the authorization server. Rejects when its metadata cannot be had. */
  readonly issuer: () => string | Promise<string>
}

/** The rooms that are asked to end what an authorization server has given. */
type ServerRooms = CredentialEndRooms & GrantServer

/**
 * What became of an attempt. `lost`: the credential was spent for another one, in an answer that nobody has. `taken over`: another
 * attempt, which has that answer, goes on with it.
 */
export type Attempt = boolean | 'unsupported' | 'lost' | 'taken over' | Failure
/**
 * `refused`: Nextcloud did not take it. `unavailable`: somebody could not be asked. `failed`: somebody answered, and did not do it.
 * `put off`: it might harm others now. The user has connected again, and that connection might end with it, or Nextcloud has refused much.
 */
export type Failure = 'refused' | 'unavailable' | 'failed' | 'put off'

/** The end of an attempt, and the deletion as it is then: a token that is spent makes way for another one. */
export interface AttemptEnd {
  readonly attempt: Attempt
  readonly deletion: PendingDeletion
}

type Of<T> = PendingDeletion & { readonly credential: T }

/** Milliseconds between looks for the lease of a grant that is being renewed. */
const PAUSE = 100
const UNSENT = new Error('The lease ran out before the refresh token was sent, or the process is about to end')
/** `error` values by which Nextcloud says that it does not know a code, or no longer (RFC 6749 §5.2). */
const UNKNOWN_CODE = ['invalid_grant', 'invalid_request']

/** Makes one attempt to end a credential where it came from. Never rejects. */
export async function attemptOnce(given: CredentialEndRooms, deletion: PendingDeletion): Promise<AttemptEnd> {
  const { credential, identity } = deletion
  // It is opened first.
  if ('sealed' in credential) return { attempt: 'failed', deletion }
  if ('appPassword' in credential) {
    return { attempt: await removeAppPassword(given, deletion, credential.appPassword), deletion }
  }
  // No other server may see it. It waits for the configuration that has its own.
  const server = given.serverOf(identity.issuer)
  const issuer = await Promise.resolve(server?.issuer()).catch(() => undefined)
  if (server === undefined || identity.issuer !== issuer) return { attempt: 'failed', deletion }
  const rooms = { ...given, ...server }
  if ('code' in credential) return redeemAndEnd(rooms, { ...deletion, credential })
  if (!rooms.endsAlone) return { attempt: await revoke(rooms, identity, credential.refreshToken), deletion }
  const lease = await leaseOf(rooms, deletion).catch(ifError(StorageError, () => undefined))
  if (lease === undefined) return { attempt: 'unavailable', deletion }
  try {
    return await refreshAndEnd(rooms, { ...deletion, credential }, lease)
  } finally {
    rooms.grants.background(lease.release())
  }
}

/** Some authorization servers revoke everything of that user and client: while a connection lives by another token, none is revoked. */
async function revoke({ grants, client }: ServerRooms, identity: Identity, token: string): Promise<Attempt> {
  const lives = await grants.store.livesByRefreshToken(identity).catch(ifError(StorageError, () => 'unknown' as const))
  if (lives === 'unknown') return 'unavailable'
  return lives ? 'put off' : client.revoke(token)
}

async function removeAppPassword(
  { appPasswords, signIns }: CredentialEndRooms,
  { identity, refused }: PendingDeletion,
  appPassword: AppPassword,
): Promise<Attempt> {
  // Whether this one is dead is not known, and one user may have many that are: they wait, so that nobody else is turned away.
  if (signIns.isFull(identity)) return refused ? 'refused' : 'failed'
  // One that was refused is likely to be refused again, which may turn everybody away.
  const giveBack = refused ? signIns.takePlace(identity) : undefined
  if (refused && giveBack === undefined) return 'refused'
  const outcome = await appPasswords.remove(appPassword)
  if (giveBack !== undefined) giveBack(outcome === 'refused')
  else if (outcome === 'refused') signIns.refused(identity)
  return outcome
}

/** Waits for the lease of the user's grant: a renewal under way may have sent the same refresh token. */
async function leaseOf(
  { grants, clock }: CredentialEndRooms,
  { identity }: PendingDeletion,
): Promise<Lease | undefined> {
  let until = clock.monotonic() + grants.leaseLife
  for (;;) {
    const lease = await grants.acquireLease(grants.store.keyOf(identity))
    if (lease !== undefined || clock.monotonic() >= until) return lease
    until += await sleepThrough(clock, PAUSE)
  }
}

/** Spends the refresh token, and has Nextcloud end what comes for it. */
async function refreshAndEnd(
  rooms: ServerRooms,
  deletion: Of<Extract<Credential, { readonly refreshToken: string }>>,
  lease: Lease,
): Promise<AttemptEnd> {
  const { client, grants, codes } = rooms
  const { credential, identity, id } = deletion
  let answer: RefreshAnswer | 'dead' | PutOff
  try {
    answer = await codes.refreshToEnd(identity, () =>
      client.refresh(credential.refreshToken, new URLSearchParams(), () => {
        if (!lease.isHeld() || grants.isEnding()) throw UNSENT
      }),
    )
  } catch (error) {
    if (!(error instanceof UpstreamUnavailableError)) return { attempt: 'failed', deletion }
    const isSpent = !error.unprocessed
    return { attempt: 'unavailable', deletion: isSpent ? { ...deletion, credential: presented(credential) } : deletion }
  }
  if (answer === 'dead') {
    if (credential.presented !== true) return { attempt: true, deletion }
    const isHere = await grants.deletions.has(id).catch(ifError(StorageError, () => true))
    return { attempt: isHere ? 'lost' : 'taken over', deletion }
  }
  if ('retryAfter' in answer) return { attempt: 'put off', deletion }
  const { refreshToken = credential.refreshToken, access } = answer
  return endTokens(rooms, { ...deletion, credential: { refreshToken } }, { id, access })
}

/** Redeems a code whose answer nobody has, and has Nextcloud end what comes for it. */
async function redeemAndEnd(rooms: ServerRooms, deletion: Of<SentCode>): Promise<AttemptEnd> {
  const { codeGrant } = rooms
  const { identity, id, credential } = deletion
  if (codeGrant === undefined) return { attempt: 'failed', deletion }
  try {
    const { code, verifier } = credential
    const as = await codeGrant.metadata()
    const answer = codeGrant.readAnswer(as, new URLSearchParams({ code, state: id }), id)
    if (answer.kind !== 'code') return { attempt: 'failed', deletion }
    const tokens = await rooms.codes.sendAgain(() => codeGrant.redeem(as, answer.parameters, verifier), identity)
    if (tokens === 'too many') return { attempt: 'put off', deletion }
    const { access, refreshToken, members } = tokens
    if (refreshToken === undefined)
      return { attempt: (await rooms.freshCredentials.endToken(access.accessToken)) || 'lost', deletion }
    const of = { ...deletion, identity: ofNamedUser(identity, members) }
    return await endTokens(rooms, { ...of, credential: { refreshToken } }, { id, access })
  } catch (error) {
    if (error instanceof TokenRequestError && UNKNOWN_CODE.includes(error.error ?? ''))
      return { attempt: 'lost', deletion }
    return { attempt: error instanceof UpstreamUnavailableError ? 'unavailable' : 'failed', deletion }
  }
}

/** Returns the user whom Nextcloud names in its answer to a code, if it is not known yet who that is. */
export function ofNamedUser(identity: Identity, { user_id: user }: CodeAnswer['members']): Identity {
  return identity.subject === '' && typeof user === 'string' ? { ...identity, subject: user } : identity
}

/** Ends fresh tokens by the access token. The refresh token is in the list before, because this process may end in between. */
async function endTokens(
  { grants, freshCredentials }: CredentialEndRooms,
  given: Of<Extract<Credential, { readonly refreshToken: string }>>,
  { id, access }: { readonly id: string; readonly access: TokenAnswer | TokenRequestError },
): Promise<AttemptEnd> {
  const { identity, credential } = given
  const deletion = { ...given, id: grants.newDeletion(identity, credential).id }
  await grants.deletions.put(deletion, id).catch(ifError(StorageError, () => false))
  const isEnded = !(access instanceof TokenRequestError) && (await freshCredentials.endToken(access.accessToken))
  return { attempt: isEnded || 'failed', deletion }
}
