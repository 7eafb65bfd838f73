import type { ServerResponse } from 'node:http'

/** For a path whose GET changes something, so that it is not for link previews. */
export function refuseHead(res: ServerResponse): void {
  res.statusCode = 405
  res.setHeader('Allow', 'GET')
  res.setHeader('Cache-Control', 'no-store')
  res.end()
}

/** The end of the way, where the operator has a page of their own for it. */
export function goBack(res: ServerResponse, returnTo: string): void {
  res.statusCode = 303
  res.setHeader('Location', returnTo)
  res.setHeader('Cache-Control', 'no-store')
  // The URL of this answer may hold a code, which is spent, and which is nobody else's business.
  res.setHeader('Referrer-Policy', 'no-referrer')
  res.end()
}
