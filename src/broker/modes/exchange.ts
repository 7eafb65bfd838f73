import { InternalError } from '../../errors/errors.js'
import type { NextcloudMode } from '../../modes.js'
import { jwtBearer } from './jwt-bearer.js'
import type { Exchange, Mode, ModeRooms } from './mode.js'
import { tokenExchange } from './token-exchange.js'

type ExchangeRooms = Pick<ModeRooms, 'config' | 'nextcloud' | 'client'>

/** The token request of each mode that exchanges the MCP token. */
const EXCHANGES: Readonly<Partial<Record<NextcloudMode, (rooms: ExchangeRooms) => Exchange>>> = {
  'token-exchange': ({ config, nextcloud, client }) => tokenExchange(client, nextcloud.parameters, config.resource),
  'jwt-bearer': ({ nextcloud, client }) => jwtBearer(client, nextcloud.parameters),
}

/** Returns the exchange of the configured mode. */
export function createExchange(rooms: ExchangeRooms): Exchange {
  const { mode } = rooms.nextcloud
  const create = EXCHANGES[mode]
  if (create === undefined) throw new InternalError(`The mode ${mode} exchanges nothing`)
  return create(rooms)
}

export function exchangeMode(rooms: ExchangeRooms): Mode {
  const exchange = createExchange(rooms)
  return {
    getFreshToken: async (caller, target) => {
      const { accessToken: token, expiresIn, sentAt } = await exchange(caller, target)
      return { secret: { scheme: 'Bearer', token }, expiresIn, sentAt, source: 'idp' }
    },
    boundToMcpToken: true,
    renewBefore: rooms.config.cache.renewBefore,
    margin: 0,
  }
}
