/** Matches `ECONNREFUSED`, `EAI_AGAIN`, `SQLITE_BUSY`, `CERT_HAS_EXPIRED`, and the five characters of SQLSTATE. */
const CODE = /^(?:[A-Z]{1,20}(?:_[A-Z0-9]{1,20}){0,6}|[0-9A-Z]{5})$/
/** The first words of Redis's errors. */
const REDIS_WORD =
  /^(?:READONLY|OOM|NOAUTH|NOPERM|WRONGPASS|MISCONF|CLUSTERDOWN|MASTERDOWN|LOADING|BUSY|WRONGTYPE|NOREPLICAS|TRYAGAIN|CROSSSLOT|MOVED|ASK|EXECABORT)\b/
/** Redis 7.0 says this of a command in a script, where others say NOPERM. */
const NOT_PERMITTED = /^ERR The user executing the script can't /
const CLASS = /^[A-Z][A-Za-z]{1,30}Error$/

/** Errors in a chain of causes that are looked at: a chain may end in itself. */
const MOST_CAUSES = 5

/**
 * Returns the code of a failure or, as `fetch` wraps it, of the next of its causes that has one. Undefined unless it has the form of one: a `code`
 * that somebody made up may hold a secret.
 */
export function codeOfFailure(error: unknown): string | undefined {
  let failure = error as { readonly code?: unknown; readonly cause?: unknown } | null | undefined
  for (let count = 0; count < MOST_CAUSES && typeof failure === 'object' && failure !== null; count += 1) {
    if (typeof failure.code === 'string' && CODE.test(failure.code)) return failure.code
    failure = failure.cause as typeof failure
  }
  return undefined
}

/** MySQL's number of an error, for those that its client knows no name of. */
const LARGEST_ERRNO = 65_535

/**
 * Returns the code, the number or the word of the store, or the class of a failure. Undefined: it has none. Its text is somebody else's and may
 * hold a secret.
 */
export function nameOfFailure(error: unknown): string | undefined {
  const code = codeOfFailure(error)
  if (code !== undefined || !(error instanceof Error)) return code
  const errno = (error as { readonly errno?: unknown }).errno
  if (isErrno(errno)) return `errno ${errno}`
  const word = NOT_PERMITTED.test(error.message) ? 'NOPERM' : REDIS_WORD.exec(error.message)?.[0]
  return word ?? (CLASS.test(error.name) ? error.name : undefined)
}

const isErrno = (errno: unknown): errno is number =>
  Number.isInteger(errno) && Number(errno) > 0 && Number(errno) <= LARGEST_ERRNO
