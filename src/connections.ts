import type { Broker, BrokerSession } from './broker/broker.js'
import type { Disconnect } from './broker/disconnect.js'
import type { ConnectionPage, ConnectionPageOptions } from './connection-list.js'
import { OtherIssuerError, type CallerOf, type Who } from './callers.js'
import type { Clock } from './clock.js'
import type { GrantsConfig } from './config/config.js'
import type { Connect } from './connect/connect.js'
import { ConfigurationError, SubjectTokenRejectedError } from './errors/errors.js'
import { ifError } from './errors/if-error.js'
import type { Serves, Waiting } from './grants/connection-watch.js'
import { consentingClient, whyUnusable, type Identity } from './grants/grant.js'
import type { Grants } from './grants/open-grants.js'
import { isOver } from './grants/withdrawals.js'
import { MODES_WITH_GRANTS } from './modes.js'
import type { NextcloudAccess } from './surface.js'

/** The stored connections of users, for the app. */
export type Connections = ReturnType<typeof createConnections>

interface ConnectionRooms {
  readonly list: (page?: ConnectionPageOptions) => Promise<ConnectionPage>
  readonly serves: (identity: Identity) => Promise<Serves>
  readonly grants: Pick<Grants, 'store'>
  readonly access: Pick<NextcloudAccess, 'rotate'>
  readonly broker: Pick<Broker, 'tryAgain'>
  readonly disconnect: Disconnect
  readonly pages: Pick<Connect, 'linkFor'>
  readonly waiting: Pick<Waiting, 'wait'>
}

export function createConnections(rooms: ConnectionRooms, callerOf: CallerOf) {
  const { list, serves, grants, access, broker, disconnect, pages, waiting } = rooms
  const forCaller =
    <A extends unknown[], R>(act: (session: BrokerSession, ...more: A) => Promise<R>) =>
    async (who: Who | undefined, ...more: A): Promise<R> =>
      act(await callerOf(who), ...more)
  const forLivingToken = <R>(act: (session: BrokerSession) => Promise<R>) =>
    forCaller(async (session) => {
      const { identity, ...consent } = session.caller
      if (await grants.store.isOfBefore(identity, consent)) throw new SubjectTokenRejectedError()
      return act(session)
    })
  const isProvisioned = forCaller(async ({ caller }) => {
    const isServed = async () => (await serves(caller.identity))(caller.clientId, caller.withdrawals)
    return (await isServed()) || ((await broker.tryAgain(caller)) && isServed())
  })
  return {
    connections: list,
    isProvisioned: (who: Who | undefined) => isProvisioned(who).catch(ifError(OtherIssuerError, () => false)),
    createConnectUrl: forLivingToken(async ({ caller }) => (await pages.linkFor(caller)).connectUrl),
    rotate: forCaller(access.rotate),
    revoke: forLivingToken(({ caller }) => disconnect(caller.identity)),
    waitForConnection: forCaller(({ caller }, ms: number, signal?: AbortSignal) =>
      waiting.wait(caller.identity, caller.clientId, ms, signal),
    ),
  }
}

/** Returns a look into the storage at a user's connection. */
export function createServes({ store }: Pick<Grants, 'store'>, consent: GrantsConfig['consent'], clock: Clock) {
  return async (identity: Identity): Promise<Serves> => {
    const stored = await store.find(identity)
    return (clientId, withdrawals) =>
      whyUnusable(stored?.grant, consentingClient(consent, clientId), clock.now()) === undefined &&
      !isOver(stored?.grant.withdrawals, clientId, withdrawals)
  }
}

function refuse(): Promise<never> {
  const message = `There are no grants without nextcloud.mode ${MODES_WITH_GRANTS}`
  return Promise.reject(new ConfigurationError(message, 'nextcloud.mode'))
}

/** The mode keeps no grants: every method rejects with the same error, and no connection will come. */
export const noGrants: Connections = {
  connections: refuse,
  isProvisioned: refuse,
  createConnectUrl: refuse,
  rotate: refuse,
  revoke: refuse,
  waitForConnection: () => Promise.resolve(false),
}
