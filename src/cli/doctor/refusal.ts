import type { TokenRequestError } from '../../errors/errors.js'

/** What the provider says of a request that it refuses, where it says anything. */
export function wordsOf({ error, errorDescription, message }: TokenRequestError): string {
  const said = [error, errorDescription].filter((part) => part !== undefined && part !== '').join(': ')
  return said === '' ? message : said
}
