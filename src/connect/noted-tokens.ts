import type { IncomingMessage } from 'node:http'
import type { AuthorizationServer } from 'oauth4webapi'
import type { CodeAnswer, CodeGrant } from '../authorization-server/code-grant.js'
import { ofNamedUser } from '../broker/credential-end.js'
import type { Deletions } from '../broker/deletions.js'
import type { NextcloudConfig } from '../config/config.js'
import { StorageError, TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { Identity } from '../grants/grant.js'
import type { CodeShares } from '../local-options.js'
import type { FreshCredentials } from '../nextcloud/fresh-credentials.js'
import { quirksOf } from '../presets.js'

/** The rooms that tokens need which must not live on in Nextcloud unless they are stored. */
export interface NotedTokensRooms {
  readonly nextcloud: Pick<NextcloudConfig, 'preset'>
  readonly deletions: Pick<Deletions, 'expect' | 'discard' | 'forget'>
  readonly freshCredentials: Pick<FreshCredentials, 'endToken'>
}

/** A code that the browser has brought, and the user. The subject is empty if Nextcloud has not said yet who it is. */
export interface BroughtCode {
  readonly as: AuthorizationServer
  readonly parameters: URLSearchParams
  readonly verifier: string
  readonly identity: Identity
}

export const NOT_ENDED =
  'Its tokens could not be ended in Nextcloud yet, which is tried again: the user finds the session there, under Security, Devices & sessions.'

type RedeemingRooms = NotedTokensRooms & { readonly codeGrant: Pick<CodeGrant, 'redeem'> }

/**
 * Redeems a code as `redeemNoted` does, and where the server counts what it refuses, only as long as it may refuse some more.
 *
 * @returns `too many`: nothing was sent
 */
export async function redeemCounted(
  rooms: RedeemingRooms & { readonly codes: Pick<CodeShares, 'send'> },
  req: IncomingMessage,
  brought: BroughtCode,
): Promise<CodeAnswer | 'too many'> {
  const redeem = () => redeemNoted(rooms, brought)
  return quirksOf(rooms.nextcloud.preset).throttles ? rooms.codes.send(req, redeem, brought.identity) : redeem()
}

/**
 * Redeems a code. Where Nextcloud can end what comes for it, the code is noted before it is sent, and the refresh token in its place
 * before anything else is done with it: if this process ends in between, another one ends what it finds.
 *
 * @throws {StorageError} the code cannot be noted: it was not sent
 * @throws {TokenRequestError} the server refused, or its answer cannot be used
 * @throws {UpstreamUnavailableError} there was no usable answer
 */
export async function redeemNoted(
  { nextcloud, deletions, codeGrant }: RedeemingRooms,
  { as, parameters, verifier, identity }: BroughtCode,
): Promise<CodeAnswer> {
  if (!quirksOf(nextcloud.preset).endsAlone) return codeGrant.redeem(as, parameters, verifier)
  const sent = { code: String(parameters.get('code')), verifier }
  await deletions.expect(identity, sent)
  try {
    const tokens = await codeGrant.redeem(as, parameters, verifier)
    const { refreshToken, members } = tokens
    if (refreshToken === undefined) await deletions.forget(sent)
    else {
      const noting = deletions.expect(ofNamedUser(identity, members), { refreshToken }, { instead: sent })
      await noting.catch(ifError(StorageError, () => undefined))
    }
    return tokens
  } catch (error) {
    if (!mayHaveTokens(error)) await deletions.forget(sent)
    throw error
  }
}

/** Whether tokens may have come for a code in an answer that was lost, or cannot be used. */
function mayHaveTokens(error: unknown): boolean {
  if (error instanceof UpstreamUnavailableError) return !error.unprocessed
  return error instanceof TokenRequestError && error.error === undefined
}

/**
 * Has Nextcloud end tokens that nobody may use, with session and refresh token. What fails is tried again. Elsewhere they are dropped:
 * some servers revoke all that the user has with this client.
 *
 * @returns what the operator is told if they are not ended yet
 */
export async function endTokens(
  { nextcloud, deletions, freshCredentials }: NotedTokensRooms,
  identity: Identity,
  { refreshToken, access }: CodeAnswer,
): Promise<string | undefined> {
  if (!quirksOf(nextcloud.preset).endsAlone) return undefined
  const { accessToken } = access
  const isEnded =
    refreshToken === undefined
      ? await freshCredentials.endToken(accessToken)
      : (await deletions.discard(identity, { refreshToken }, accessToken)) === true
  return isEnded ? undefined : NOT_ENDED
}
