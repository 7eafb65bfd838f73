import { STATUS_CODES } from 'node:http'
import { sabre } from './dav-answers.js'
import { json, type Asked, type Told } from './exchange.js'
import { ocs } from './ocs.js'

/** Returns a failure in the form that a path has: an envelope of OCS, an exception of WebDAV, or JSON. */
export function failureOf(asked: Asked, status: number): Told {
  const words = STATUS_CODES[status] ?? ''
  if (asked.path.startsWith('/ocs/')) return ocs(asked, status, words)
  if (asked.path.startsWith('/remote.php/')) return sabre(status, words.replaceAll(/\W/g, ''), words)
  return json(status, { message: words })
}
