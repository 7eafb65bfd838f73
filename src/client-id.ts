import { jsonBytes } from './json.js'

/**
 * Bytes of a client id in JSON. That of a metadata document is a URL of the client's choice, and each consent, grant, link and code has it in
 * its record.
 */
export const LONGEST_CLIENT_ID = 512

export const isTooLong = (clientId: string): boolean => jsonBytes(clientId) - 2 > LONGEST_CLIENT_ID
