import { Misuse, textOf } from '../../command-line.js'
import type { Values } from '../../options.js'
import { check, type Check, type Subject, type Verdict } from '../check.js'
import type { Examination } from '../examination.js'
import { judgePkce } from './client-checks.js'
import { clientOf, MCP_CLIENT_IDS, type McpClient } from './mcp-clients.js'
import { checkAuthorization } from './walk-authorization.js'
import type { Walk } from './walk-finds.js'
import { checkProvider, checkScopes } from './walk-provider.js'
import { checkRegistration, checkRemoval } from './walk-registration.js'
import { checkAddress, checkChallenge, checkMetadata } from './walk-server.js'

/** The command line of a walk. */
export interface WalkRequest {
  readonly client: McpClient
  readonly address: string | undefined
  readonly clientId: string | undefined
}

/**
 * Returns the walk that the command line asks for; undefined if it asks for none.
 *
 * @throws {Misuse} there is no such client, or the address is none
 */
export function readWalk(values: Values): WalkRequest | undefined {
  const name = textOf(values['as'])
  const [address, clientId] = [textOf(values['address']), textOf(values['as-client-id'])]
  if (name === undefined) {
    if (address !== undefined || clientId !== undefined) throw new Misuse('--address and --as-client-id go with --as')
    return undefined
  }
  const id = MCP_CLIENT_IDS.find((known) => known === name)
  if (id === undefined) throw new Misuse(`--as must be one of ${MCP_CLIENT_IDS.join(', ')}`)
  if (address !== undefined && !/^https?:$/.test(URL.canParse(address) ? new URL(address).protocol : '')) {
    throw new Misuse('--address must be an http or https URL')
  }
  return { client: clientOf(id), address, clientId }
}

type Step = (context: Examination, walk: Walk) => Verdict | Promise<Verdict>

const STEPS: readonly (readonly [id: string, needs: readonly string[], step: Step])[] = [
  ['as.address', [], checkAddress],
  ['as.challenge', [], checkChallenge],
  // What a 401 lacks, some clients find by themselves.
  ['as.metadata', [], checkMetadata],
  ['as.provider', ['as.metadata'], checkProvider],
  ['as.pkce', ['as.provider'], (_context, { provider }) => judgePkce(provider)],
  ['as.scopes', ['as.provider'], checkScopes],
  ['as.registration', ['as.provider'], checkRegistration],
  ['as.authorization', ['as.registration'], checkAuthorization],
  ['as.removal', [], checkRemoval],
]

/** The ids of a walk, in the order of the report. */
export const WALK_IDS: readonly string[] = STEPS.map(([id]) => id)

/** Returns the steps of a client from its first request to the sign-in page. */
export function walkChecks({ client, address, clientId: givenId }: WalkRequest): readonly Check[] {
  let walk: Walk | undefined
  const finds = { metadata: {}, issuer: '', provider: {}, scopes: [] }
  const about: Subject<Walk> = ({ config }) =>
    (walk ??= { client, address: address ?? config.resource, givenId, ...finds })
  return STEPS.map(([id, needs, run]) => check({ id, needs, about, run }))
}
