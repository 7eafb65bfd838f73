/** Paths of the authorization server, on the origin of `resource`. */
export const PATHS = {
  authorization: '/oauth/authorize',
  token: '/oauth/token',
  registration: '/oauth/register',
  revocation: '/oauth/revoke',
  jwks: '/oauth/jwks',
  interaction: '/oauth/sign-in',
} as const

/** Returns the question that a path of these pages names, and what comes after it. */
export function questionIn(path: string): { readonly question: string; readonly page: string } | undefined {
  const [, question, page = ''] = QUESTION.exec(path) ?? []
  return question === undefined ? undefined : { question, page }
}

// eslint-disable-next-line security/detect-non-literal-regexp -- made of PATHS
const QUESTION = new RegExp(`^${PATHS.interaction}/([\\w-]+)(/done)?$`)

/** Returns the question that a path goes on from. */
export const resumedBy = (path: string): string | undefined => RESUMED.exec(path)?.[1]

// eslint-disable-next-line security/detect-non-literal-regexp -- made of PATHS
const RESUMED = new RegExp(`^${PATHS.authorization}/([\\w-]+)$`)
