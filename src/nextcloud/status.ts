import type { NextcloudConfig } from '../config/config.js'
import type { Contact } from '../contact.js'
import { parseObject } from '../json.js'
import type { Transport } from '../transport/transport.js'

/**
 * Asks Nextcloud whether it serves, and has the contact note it: a maintenance mode, an upgrade that is due and a name that it does not
 * trust are failures. Rejects with {@link UpstreamUnavailableError} when it cannot be reached.
 */
export async function lookAtNextcloud(
  { base }: Pick<NextcloudConfig, 'base'>,
  transport: Pick<Transport, 'askNextcloud'>,
  contact: Contact,
): Promise<void> {
  const response = await transport.askNextcloud(`${base}status.php`, {
    method: 'GET',
    headers: { accept: 'application/json' },
  })
  const { installed, maintenance, needsDbUpgrade } = parseObject(await response.text()) ?? {}
  const serves = installed !== false && maintenance !== true && needsDbUpgrade !== true && response.status !== 400
  if (!serves) contact.failed()
}
