import type { PerIssuer } from '../config/per-issuer.js'
import type { Discovery } from './discovery.js'

/** The authorization servers, each of which knows its own name. */
export type NamedServers = PerIssuer<{ readonly discovery: Pick<Discovery, 'issuer'> }>

/**
 * Whether an issuer is configured. What was given to another, such as one of before a move, is not for those that are.
 *
 * Rejects with {@link UpstreamUnavailableError} if the name of the only one has to be looked up and cannot be.
 */
export async function isConfigured({ all, find }: NamedServers, issuer: string): Promise<boolean> {
  return all.length === 1 ? issuer === (await all[0].discovery.issuer()) : find(issuer) !== undefined
}
