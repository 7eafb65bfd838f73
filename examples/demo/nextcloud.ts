import { decodeJwt, type JWTPayload } from 'jose'
import { bearerOf } from '../../src/testing/nextcloud/exchange.js'
import { startStandIn } from '../../test/support/nextcloud/stand-in.js'
import type { Account } from '../../test/support/nextcloud/state.js'

/** One request as Nextcloud saw it. The claims only, because a token belongs in no record. */
export interface ReceivedRequest {
  readonly method: string
  readonly path: string
  readonly status: number
  /** Absent when the token was refused. */
  readonly claims?: JWTPayload
}

export interface Nextcloud {
  readonly url: string
  readonly received: readonly ReceivedRequest[]
  close(): Promise<void>
}

/**
 * A stand-in for Nextcloud, which knows nothing of MCP. Like the `user_oidc` app it validates a bearer token by itself:
 * signed by the provider it is set up with, issued by it, unexpired, and with its own client id in `aud`. The scope is
 * not looked at.
 *
 * @param options.issuer the provider, found through discovery at the first request
 * @param options.clientId Nextcloud's client id at that provider; default `nextcloud`
 */
export async function startNextcloud({
  issuer,
  clientId = 'nextcloud',
  port = 0,
}: {
  readonly issuer: string
  readonly clientId?: string
  readonly port?: number
}): Promise<Nextcloud> {
  const received: ReceivedRequest[] = []
  const { url, close } = await startStandIn({
    port,
    provider: { issuer, clientId },
    welcome,
    onAnswer(asked, { status }) {
      const { method, path } = asked
      const claims = status === 401 ? undefined : decodeJwt(bearerOf(asked) ?? '')
      received.push({ method, path, status, ...(claims && { claims }) })
    },
  })
  return { url, received, close }
}

/** Everybody starts with the same two notes, in their own name. */
function welcome({ uid, notes }: Account): void {
  const note = { category: '', modified: 0 }
  notes.push(
    { id: 1, title: 'Shopping', content: `Bread, olives and coffee for ${uid}`, ...note },
    { id: 2, title: 'Ideas', content: `What ${uid} wants to try next`, ...note },
  )
}
