import type { Told } from './exchange.js'

const VERSION = {
  version: '32.0.1.2',
  versionstring: '32.0.1',
  edition: '',
  productname: 'Nextcloud',
  extendedSupport: false,
}

/** Returns the answer of `/status.php`, which anybody may ask. */
export function status({ maintenance = false, upgradeDue = false } = {}): Told {
  const body = JSON.stringify({ installed: true, maintenance, needsDbUpgrade: upgradeDue, ...VERSION })
  return { status: 200, headers: { 'content-type': 'application/json', 'access-control-allow-origin': '*' }, body }
}
