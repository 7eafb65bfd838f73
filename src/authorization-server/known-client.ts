import type { Clock } from '../clock.js'
import type { ClientConfig, NextcloudConfig } from '../config/config.js'
import { ConfigurationError, UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { quirksOf } from '../presets.js'
import type { Transport } from '../transport/transport.js'

/** Nextcloud's app `oauth2` does not have the client: it was deleted there, or its id is wrong here. */
export class UnknownClientError extends ConfigurationError {}

interface Asking {
  readonly nextcloud: NextcloudConfig
  /** Path of the authorization endpoint. */
  readonly authorization: string
  readonly client: Pick<ClientConfig, 'id'>
  readonly transport: Pick<Transport, 'askNextcloud'>
  readonly clock: Clock
}

/** Milliseconds for which an answer counts. An administrator who has added the client need not wait. */
const COUNTS_FOR = { known: 60_000, unknown: 5_000, untold: 5_000 }
const UNKNOWN =
  'Nextcloud has no OAuth 2.0 client of the id that this server has (clientId): it was deleted there, or the id is wrong. Add a client in Administration settings, Security, OAuth 2.0 clients, and give its id and secret to this server'

/**
 * Returns a function that asks Nextcloud's app `oauth2` whether it has the client, before a person is sent there: it shows them a page then
 * that leads nowhere. Elsewhere nothing is asked.
 *
 * It rejects with {@link UnknownClientError}. What Nextcloud does not say is no reason.
 */
export function createClientCheck(
  asking: Omit<Asking, 'nextcloud' | 'authorization'> & { readonly nextcloud: NextcloudConfig | undefined },
) {
  const { nextcloud, clock } = asking
  const endpoints = nextcloud && quirksOf(nextcloud.preset).endpoints
  if (nextcloud === undefined || endpoints === undefined) return () => Promise.resolve()
  let known: { readonly answer: ReturnType<typeof ask>; until: number } | undefined
  return async (): Promise<void> => {
    if (known === undefined || clock.monotonic() >= known.until) {
      const asked = { answer: ask({ ...asking, nextcloud, authorization: endpoints.authorization }), until: Infinity }
      known = asked
      asked.until = clock.monotonic() + COUNTS_FOR[await asked.answer]
    }
    if ((await known.answer) === 'unknown') throw new UnknownClientError(UNKNOWN, 'clientId')
  }
}

/**
 * Asks for a response type that the app does not have: it sends a client that it knows back to its redirect URI with an error, and shows a
 * page for another. An upgrade that is due is a page, too, which the status tells.
 */
async function ask({ nextcloud, authorization, client, transport }: Asking): Promise<keyof typeof COUNTS_FOR> {
  const url = new URL(nextcloud.base + authorization)
  url.search = new URLSearchParams({ response_type: 'none', client_id: client.id, state: 'none' }).toString()
  const get = (address: string, accept: string) =>
    transport
      .askNextcloud(address, { method: 'GET', headers: { accept } })
      .catch(ifError(UpstreamUnavailableError, ({ httpStatus = 0 }) => ({ status: httpStatus })))
  const { status } = await get(url.href, 'text/html')
  if (status >= 300 && status < 400) return 'known'
  if (status !== 200) return 'untold'
  const health = await get(`${nextcloud.base}status.php`, 'application/json')
  return 'json' in health && isInService(await health.json().catch(() => undefined)) ? 'unknown' : 'untold'
}

function isInService(status: unknown): boolean {
  const { installed, maintenance, needsDbUpgrade } = (status ?? {}) as Readonly<Record<string, unknown>>
  return installed === true && maintenance === false && needsDbUpgrade === false
}
