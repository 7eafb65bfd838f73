import { isLoopback } from '../../config/values.js'
import { check, failed, leftOut, passed, type Check, type Subject, type Verdict } from './check.js'
import { isAnswer, type Answer, type NoAnswer } from './probe.js'

/** A server that must be reached. */
export interface Server {
  /** The first half of the ids of its checks. */
  readonly id: string
  /** `the provider`, for sentences. */
  readonly name: string
  /** The ways to give its address. */
  readonly configured: string
  readonly ask: Subject<Answer | NoAnswer>
  /** The checks that must not have failed before it is asked. Default: none. */
  readonly needs?: Check['needs']
}

const TRUST =
  'start Node with NODE_EXTRA_CA_CERTS=/path/to/ca.pem, which holds the CA (or that very certificate), here and in the app; do not switch verification off'

/** Code of OpenSSL or Node → the fault, and its remedy. */
const TLS_FAULTS: readonly (readonly [code: RegExp, found: string, fix: string])[] = [
  [
    /^CERT_HAS_EXPIRED$/,
    'its certificate has expired',
    'renew the certificate of that server, and have the server or proxy read it again',
  ],
  [
    /^CERT_NOT_YET_VALID$/,
    'its certificate is not valid yet',
    'set the clock of this machine (NTP), or replace that certificate',
  ],
  [/^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN)$/, 'its certificate is self-signed', TRUST],
  [
    /^UNABLE_TO_/,
    'its certificate is from a CA that is unknown here, or the intermediate certificates are missing',
    `have that server send its whole chain (fullchain.pem); with a CA of your own, ${TRUST}`,
  ],
  [
    /^(?:ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)$/,
    'its certificate is for another host name',
    'use the host name that the certificate is for, or get a certificate that names this one',
  ],
  [
    /^(?:EPROTO|ERR_SSL_\w+|ERR_TLS_\w+|CERT_\w+|CRL_\w+)$/,
    'TLS fails',
    'check that this port speaks TLS (and not plain http), and what it offers: openssl s_client -connect',
  ],
]

const CONNECTION_FAULTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: check the port, and that the server runs',
  ENOTFOUND: 'there is no such host name for this machine: check the spelling, the DNS, the network of the container',
  EAI_AGAIN: 'the DNS does not answer: check the resolver of this machine or container',
  EHOSTUNREACH: 'there is no way to that host: check routes and firewalls',
  ENETUNREACH: 'there is no way to that network: check routes and firewalls',
  ECONNRESET: 'the connection was broken off: check a proxy in between, and whether the port speaks http or https',
  ETIMEDOUT: 'no connection within the time: check firewalls',
  TIMEOUT: 'no answer within http.timeout (--timeout): check firewalls, and how busy that server is',
  TOO_LARGE: 'the answer is larger than http.maxResponseBytes: check that this is the right address',
}

/** The checks that must pass before a server can be asked for more. */
export const reached = ({ id }: Pick<Server, 'id'>): readonly string[] => [`${id}.reachable`, `${id}.tls`]

/** Checks of the way to a server: it can be reached, and its certificate is good. */
export function connectionChecks(server: Server): readonly Check[] {
  const { ask: about, needs } = server
  const [reachable = '', certificate = ''] = reached(server)
  return [
    check({ id: reachable, about, ...(needs && { needs }), run: (_context, result) => reachability(server, result) }),
    check({ id: certificate, needs: [reachable], about, run: (_context, result) => tls(server, result) }),
  ]
}

function reachability({ name, configured }: Server, result: Answer | NoAnswer): Verdict {
  const { host } = new URL(result.url)
  if (isAnswer(result)) return passed(`${name} answers at ${host}`)
  if (tlsFault(result.code) !== undefined) return passed(`${name} is there at ${host}, but TLS fails`)
  return failed(
    `${name} cannot be reached at ${host} (${result.code})`,
    `${CONNECTION_FAULTS[result.code] ?? 'check the address and the network'}; the address comes from ${configured}`,
  )
}

function tls({ name, configured }: Server, result: Answer | NoAnswer): Verdict {
  const url = new URL(result.url)
  if (url.protocol === 'http:') {
    return isLoopback(url)
      ? leftOut('plain http on loopback')
      : leftOut(
          `plain http to ${url.host}`,
          'tokens can be read on the way: use https, or keep this inside one trusted network',
        )
  }
  if (isAnswer(result)) return passed(`the certificate of ${url.host} is good`)
  const [, found, fix] = tlsFault(result.code) ?? [undefined, 'TLS fails', 'check that server']
  return failed(`${name} at ${url.host}: ${found} (${result.code})`, `${fix}; the address comes from ${configured}`)
}

function tlsFault(code: string): (typeof TLS_FAULTS)[number] | undefined {
  return TLS_FAULTS.find(([pattern]) => pattern.test(code))
}
