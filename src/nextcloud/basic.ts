/** A login name with an app password of it (RFC 7617 §2). */
export interface AppPassword {
  readonly loginName: string
  readonly password: string
}

/** Returns the credentials behind `Basic ` in an `Authorization` header (RFC 7617 §2), in UTF-8, as Nextcloud reads them. */
export function basicCredentials({ loginName, password }: AppPassword): string {
  return Buffer.from(`${loginName}:${password}`).toString('base64')
}

/** Whether Basic authentication can carry it: no colon in the name, nothing that is not text (RFC 7617 §2). */
export function isAppPassword(value: { loginName: unknown; password: unknown }): value is AppPassword {
  const { loginName, password } = value
  return (
    typeof loginName === 'string' &&
    /^[^:\p{Cc}\p{Surrogate}]{1,512}$/u.test(loginName) &&
    typeof password === 'string' &&
    /^[\x21-\x7E]{1,512}$/.test(password)
  )
}
