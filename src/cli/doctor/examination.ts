import { createClient, type AuthorizationServerClient } from '../../authorization-server/client.js'
import { createDiscovery, type Discovery } from '../../authorization-server/discovery.js'
import { createTransport, type Transport } from '../../transport/transport.js'
import { needsOf } from '../../authorization-server/needs.js'
import type { Clock } from '../../clock.js'
import type { Config } from '../../config/config.js'
import { createEvents, type Events } from '../../events.js'
import { createIssuerKeys } from '../../verify/keys.js'
import { createVerifier, type VerifiedToken, type Verifier } from '../../verify/verifier.js'
import { createProbe, isAnswer, type Answer, type NoAnswer, type Probe } from './probe.js'
import type { Secrets } from './secrets.js'
import type { OpenStorage, StorageAddress } from './storage-client.js'

/** What was given, beside the configuration. */
export interface Given {
  readonly config: Config
  readonly clock: Clock
  readonly secrets: Secrets
  /** The MCP token to try. */
  readonly token: string | undefined
  readonly storage: StorageAddress | undefined
  /** Opens the store once. */
  readonly openStorage: () => Promise<OpenStorage>
}

/** What the checks work with: the rooms of the server itself, and what was found on the way. */
export interface Examination extends Given {
  readonly probe: Probe
  readonly transport: Transport
  readonly discovery: Discovery
  readonly client: AuthorizationServerClient
  readonly verifier: Verifier<VerifiedToken>
  readonly events: Events
  /** Answers that several checks look at, each fetched once. */
  readonly answers: Map<string, Promise<Answer | NoAnswer>>
  /** The MCP token once it has been verified, and the token for Nextcloud once there is one. */
  verified?: VerifiedToken
  nextcloudToken?: string
  /** `expires_in` of the answer to the exchange. */
  expiresIn?: number | undefined
}

export function createExamination(given: Given): Examination {
  const { config, clock } = given
  const events = createEvents(() => undefined, clock)
  const transport = createTransport(config.http, clock, events)
  const discovery = createDiscovery(config, transport, clock)
  const client = createClient({ config, discovery, transport, clock, events })
  const keys = createIssuerKeys({ discovery, transport, clock, staleKeys: 0 })
  const verifier = createVerifier({ config, discovery, keys, client, clock, events }, (token) => token)
  return {
    ...given,
    probe: createProbe(transport, config.http, clock),
    transport,
    discovery,
    client,
    verifier,
    events,
    answers: new Map(),
  }
}

/** What is answered to a plain GET of a URL, asked once. */
export function fetched({ answers, probe }: Examination, url: string): Promise<Answer | NoAnswer> {
  const answer = answers.get(url) ?? probe(url)
  answers.set(url, answer)
  return answer
}

/** Both well-known forms of an issuer's metadata: OIDC Discovery §4 puts it behind the path, RFC 8414 §3 before. */
export function wellKnownUrls(issuer: string): { readonly oidc: string; readonly oauth: string } {
  const url = new URL(issuer)
  const path = url.pathname.replace(/\/$/, '')
  return {
    oidc: `${url.origin}${path}/.well-known/openid-configuration`,
    oauth: `${url.origin}/.well-known/oauth-authorization-server${path}`,
  }
}

/** The document that this server goes by: at `discoveryUrl`, else the first of the two forms, else (404) the second. */
export async function issuerDocument(context: Examination): Promise<Answer | NoAnswer> {
  const { discoveryUrl, issuer } = context.config
  if (discoveryUrl !== undefined) return fetched(context, discoveryUrl.href)
  const { oidc, oauth } = wellKnownUrls(issuer ?? '')
  const first = await fetched(context, oidc)
  return isAnswer(first) && first.status === 404 ? fetched(context, oauth) : first
}

/** Whether anything has to be discovered: where all is configured by hand, a missing document does no harm. */
export const needsDocument = ({ config }: Pick<Examination, 'config'>): boolean => needsOf(config).metadata
