import {
  bareJson,
  barePage,
  isDecodable,
  nginx,
  type Asked,
  type Told,
} from '../../../src/testing/nextcloud/exchange.js'
import { davError } from '../../../src/testing/nextcloud/dav-answers.js'
import { status } from '../../../src/testing/nextcloud/status.js'
import { ocs } from '../../../src/testing/nextcloud/ocs.js'
import type { NextcloudState } from './state.js'

/** Returns the answer of what stands before every controller: host names, maintenance, an upgrade that is due. */
export function gate(state: NextcloudState, asked: Asked): Told | undefined {
  const { settings } = state
  const isStatus = asked.path === '/status.php'
  if (!isTrusted(state, asked)) {
    if (!isStatus) return barePage(400, UNTRUSTED)
    const { body = '' } = bareJson(400, { error: 'Trusted domain error.', code: 15 })
    return { status: 400, headers: { 'content-type': 'application/json' }, body }
  }
  if (isStatus) return status(settings)
  if (!settings.maintenance && !settings.upgradeDue) return undefined
  if (asked.path.startsWith('/ocs/'))
    return ocs(asked, 503, 'Service unavailable', { 'x-nextcloud-maintenance-mode': '1' })
  const isDav = asked.path.startsWith('/remote.php/')
  if (settings.maintenance) {
    if (isDav) return davError(503, 'OCA\\DAV\\Exception\\ServerMaintenanceMode', 'System is in maintenance mode.')
    return barePage(503, MAINTENANCE, { 'x-nextcloud-maintenance-mode': '1', 'retry-after': '120' })
  }
  return isDav ? barePage(503, '<h2>Error</h2><p>Service unavailable</p>') : barePage(200, UPGRADE)
}

function isTrusted({ settings: { trustedDomains } }: NextcloudState, { headers }: Asked): boolean {
  if (trustedDomains === undefined) return true
  const host = headers.host ?? ''
  return trustedDomains.includes(host) || trustedDomains.includes(host.replace(/:\d+$/, ''))
}

const UNTRUSTED =
  '<h2>Access through untrusted domain</h2><p>Please contact your administrator. If you are an administrator, edit the "trusted_domains" setting in config/config.php like the example in config.sample.php.</p><p>Further information how to configure this can be found in the <a href="/">documentation</a>.</p>'

const MAINTENANCE =
  '<h2>Maintenance mode</h2><p>This Nextcloud instance is currently in maintenance mode, which may take a while.</p><p>This page will refresh itself when the instance is available again.</p><p>Contact your system administrator if this message persists or appeared unexpectedly.</p>'

const UPGRADE =
  '<h2>Nextcloud will be updated to version 32.0.1</h2><p>Please make sure that the database, the config folder and the data folder have been backed up before proceeding.</p><p>To avoid timeouts with larger installations, you can instead run the following command from your installation directory:</p><pre>./occ upgrade</pre>'

/** Answers of the web server, which PHP never sees. */
export function webServer(asked: Asked): Told | undefined {
  const { path, target, base } = asked
  if (!isDecodable(path)) return nginx(400, '400 Bad Request')
  if (path.startsWith('/.well-known/'))
    return nginx(301, '301 Moved Permanently', {
      location: `${base}/index.php${target.slice(target.indexOf('/.well-known/'))}`,
    })
  if (path === '/remote') return nginx(301, '301 Moved Permanently', { location: `${base}/remote.php/remote` })
  return undefined
}
