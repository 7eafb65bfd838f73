import { InternalError, SubjectTokenRejectedError } from '../../errors/errors.js'
import type { NextcloudMode } from '../../modes.js'
import { jwtBearer } from './jwt-bearer.js'
import { hasExpired, type Exchange, type Mode, type ModeRooms, type TokenRequest } from './mode.js'
import { createSharing, type ExchangedToken, type Sharing } from './shared-exchange.js'
import { tokenExchange } from './token-exchange.js'

type ExchangeRooms = Pick<ModeRooms, 'config' | 'nextcloud' | 'client'>

/** The token request of each mode that exchanges the MCP token. */
const EXCHANGES: Readonly<Partial<Record<NextcloudMode, (rooms: ExchangeRooms) => Exchange>>> = {
  'token-exchange': ({ config, nextcloud, client }) =>
    tokenExchange(client, nextcloud.parameters, [config.resource, ...config.audience]),
  'jwt-bearer': ({ nextcloud, client }) => jwtBearer(client, nextcloud.parameters),
}

/** Returns the exchange of the configured mode. */
export function createExchange(rooms: ExchangeRooms): Exchange {
  const { mode } = rooms.nextcloud
  const create = EXCHANGES[mode]
  if (create === undefined) throw new InternalError(`The mode ${mode} exchanges nothing`)
  return create(rooms)
}

export function exchangeMode(rooms: ModeRooms): Mode {
  const exchange = createExchange(rooms)
  const timing = { renewBefore: rooms.config.cache.renewBefore, margin: 0 }
  const getFreshToken = async ({ caller, target }: TokenRequest): Promise<ExchangedToken> => {
    const { accessToken: token, expiresIn, sentAt } = await exchange(caller, target)
    return { secret: { scheme: 'Bearer', token }, expiresIn, sentAt, source: 'idp' }
  }
  const mode = { getFreshToken, boundToMcpToken: true, ...timing }
  return rooms.tokenRecords === undefined
    ? mode
    : sharedMode(mode, createSharing(rooms, rooms.tokenRecords, timing), rooms)
}

/** Returns the same mode, in which one instance exchanges and the others take its token. */
function sharedMode(
  mode: Mode & { readonly getFreshToken: (request: TokenRequest) => Promise<ExchangedToken> },
  { take, check }: Sharing,
  { config: { clockTolerance }, clock }: Pick<ModeRooms, 'config' | 'clock'>,
): Mode {
  return {
    ...mode,
    check,
    async getFreshToken(request) {
      const taken = await take(request)
      if ('secret' in taken) return taken
      try {
        if (hasExpired(request.caller, clockTolerance, clock)) throw new SubjectTokenRejectedError()
        return await taken.share(await mode.getFreshToken(request))
      } catch (error) {
        taken.giveUp()
        throw error
      }
    },
  }
}
