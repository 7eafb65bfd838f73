import { jwtBearer } from './jwt-bearer.js'
import type { Exchange, Mode, ModeRooms } from './mode.js'
import { tokenExchange } from './token-exchange.js'

/** Returns the exchange of the configured mode. */
export function createExchange({
  config,
  nextcloud,
  client,
}: Pick<ModeRooms, 'config' | 'nextcloud' | 'client'>): Exchange {
  return nextcloud.mode === 'jwt-bearer'
    ? jwtBearer(client, nextcloud.parameters)
    : tokenExchange(client, nextcloud.parameters, config.resource)
}

export function exchangeMode(rooms: Pick<ModeRooms, 'config' | 'nextcloud' | 'client'>): Mode {
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
