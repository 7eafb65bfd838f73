import type { PerIssuer } from '../config/per-issuer.js'
import type { Broker } from './broker.js'
import type { Caller } from './modes/mode.js'

/** Returns one broker for the callers of all issuers, each of whom is served by that of its own issuer. */
export function joinBrokers({ all, find, of }: PerIssuer<Broker>): Broker {
  if (all.length === 1) return all[0]
  const brokerOf = ({ caller }: { readonly caller: Pick<Caller, 'identity'> }): Broker => of(caller.identity.issuer)
  return {
    getSecret: (session, options) => brokerOf(session).getSecret(session, options),
    replaceSecret: (session, ...refused) => brokerOf(session).replaceSecret(session, ...refused),
    secretWorked: (session, secret) => brokerOf(session).secretWorked(session, secret),
    rotate: async (session) => brokerOf(session).rotate(session),
    tryAgain: async (caller) => brokerOf({ caller }).tryAgain(caller),
    forget: (identity) => find(identity.issuer)?.forget(identity),
    // They share one cache.
    size: all[0].size,
  }
}
