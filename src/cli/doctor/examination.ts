import { createClient, type AuthorizationServerClient } from '../../authorization-server/client.js'
import { createDiscovery, type Discovery } from '../../authorization-server/discovery.js'
import { needsOf, type Needs } from '../../authorization-server/needs.js'
import type { TokenAnswer } from '../../authorization-server/token-answer.js'
import type { Clock } from '../../clock.js'
import type { Config } from '../../config/config.js'
import { perIssuer, type PerIssuer } from '../../config/per-issuer.js'
import { createEvents, type Events } from '../../events.js'
import { createTransport, type Transport } from '../../transport/transport.js'
import { createIssuerKeys } from '../../verify/keys.js'
import { createVerifier, type VerifiedToken, type Verifier } from '../../verify/verifier.js'
import type { Secrets } from '../secrets.js'
import type { Store } from '../stores.js'
import { decoded } from './jwt.js'
import { createProbe, type Answer, type NoAnswer, type Probe } from './probe.js'

/** The set-up to examine, the rooms of the server itself, and the finds that later checks build on. */
export interface Examination {
  /** The configuration, as it is for the issuer that is looked at. */
  readonly config: Config
  /** The names of all issuers, in their order, which are known unless there is one alone. */
  readonly issuers: readonly (string | undefined)[]
  readonly clock: Clock
  readonly secrets: Secrets
  /** The MCP token to try. */
  readonly token: string | undefined
  /** The subject of the user whose grant to try, without an MCP token. */
  readonly subject: string | undefined
  readonly store: Store | undefined
  readonly probe: Probe
  readonly transport: Transport
  readonly discovery: Discovery
  readonly needs: Needs
  readonly client: AuthorizationServerClient
  readonly verifier: Verifier<VerifiedToken>
  readonly events: Events
  /** Answers that several checks look at, each fetched once. */
  readonly answers: Map<string, Promise<Answer | NoAnswer>>
  /** The MCP token, once it has been verified. */
  verified?: VerifiedToken
  /** The answer to an exchange of it. */
  exchanged?: TokenAnswer
  /** The token for Nextcloud, once there is one. */
  nextcloudToken?: string
  /** The user's id in Nextcloud, once it has been asked for. */
  userId?: string
}

/** Returns the examinations of the issuers, that of the token's own first, else of the first that is configured. */
export function createExaminations(
  given: Pick<Examination, 'config' | 'clock' | 'secrets' | 'token' | 'subject' | 'store'>,
): readonly [Examination, ...Examination[]] {
  const { config, clock, token } = given
  const events = createEvents(() => undefined, clock)
  const transport = createTransport(config.http, clock, events)
  const rooms = perIssuer(config).map((one) =>
    roomsOf(one === config ? one : withoutSecret(one), { transport, clock, events }),
  )
  const shared = {
    ...given,
    issuers: rooms.all.map(({ config: { issuer } }) => issuer),
    probe: createProbe(transport, config.http, clock),
    transport,
    verifier: createVerifier(rooms, (verified) => verified),
    answers: new Map(),
  }
  const own = ownOf(rooms, token)
  const others = rooms.all.filter((one) => one !== own)
  return [{ ...shared, ...own }, ...others.map((one) => ({ ...shared, ...one }))]
}

/** The command line names one secret, and which issuer it is for: the first. No other gets it. */
function withoutSecret(config: Config): Config {
  const { client } = config
  if (client === undefined) return config
  return { ...config, client: { id: client.id, secret: undefined, auth: undefined, hasCredentials: false } }
}

/** Returns why no credentials are sent to an issuer that is not the first; undefined for the first. */
export function withheldFrom({ config: { issuer }, issuers }: Examination): string | undefined {
  const [first] = issuers
  if (issuers.length === 1 || issuer === first) return undefined
  return `the secret is tried at the first issuer alone (${first ?? ''}): to try one here, name this issuer first, with the client and the secret that are for it`
}

function roomsOf(config: Config, { transport, clock, events }: Pick<Examination, 'transport' | 'clock' | 'events'>) {
  const discovery = createDiscovery(config, transport, clock)
  return {
    config,
    discovery,
    keys: createIssuerKeys({
      ...{ discovery, transport, clock, cache: { ...config.cache, staleKeys: 0 } },
      clockTolerance: config.clockTolerance,
    }),
    client: createClient({ config, discovery, transport, clock, events }),
    needs: needsOf(config),
    clock,
    events,
  }
}

function ownOf<T>(rooms: PerIssuer<T>, token: string | undefined): T {
  const claimed = token === undefined ? undefined : decoded(token)?.claims['iss']
  return (typeof claimed === 'string' ? rooms.find(claimed) : undefined) ?? rooms.all[0]
}

/** Returns the answer to a request, which is made once. */
export function askedOnce(
  { answers }: Examination,
  name: string,
  ask: () => Promise<Answer | NoAnswer>,
): Promise<Answer | NoAnswer> {
  const answer = answers.get(name) ?? ask()
  answers.set(name, answer)
  return answer
}

/** Returns the answer of a URL to a GET without credentials. */
export const fetched = (context: Examination, url: string): Promise<Answer | NoAnswer> =>
  askedOnce(context, url, () => context.probe(url))
