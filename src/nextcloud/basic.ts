import type { AppPassword } from '../grants/grant.js'

/** What follows `Basic ` in an `Authorization` header (RFC 7617 §2), in UTF-8, as Nextcloud reads it. */
export function basicCredentials({ loginName, password }: AppPassword): string {
  return Buffer.from(`${loginName}:${password}`).toString('base64')
}

/** What `basicCredentials` was made of. A login name never holds a colon, as `isAppPassword` sees to. */
export function readBasicCredentials(credentials: string): AppPassword {
  const text = Buffer.from(credentials, 'base64').toString()
  const colon = text.indexOf(':')
  return { loginName: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** Whether Basic authentication can carry it: no colon in the name, nothing that is not text (RFC 7617 §2). */
export function isAppPassword({ loginName, password }: { loginName: unknown; password: unknown }): boolean {
  return (
    typeof loginName === 'string' &&
    /^[^:\p{Cc}\p{Surrogate}]{1,512}$/u.test(loginName) &&
    typeof password === 'string' &&
    /^[\x21-\x7E]{1,512}$/.test(password)
  )
}
