import { passThrough } from '../../broker/modes/pass-through.js'
import { InvalidTokenError, McpAuthError } from '../../errors/errors.js'
import { MODES } from '../../modes.js'
import { REJECTION_ADVICE } from '../../verify/rejection-advice.js'
import { REMEDIES } from '../../verify/rejections.js'
import { checkScopes } from '../../verify/scopes.js'
import type { VerifiedToken } from '../../verify/verifier.js'
import { forApp, waysToGive } from './words.js'
import { check, failed, leftOut, missing, outcomeOf, passed, type Check, type Subject, type Verdict } from './check.js'
import type { Examination } from './examination.js'
import { decoded, describeClaims } from './jwt.js'

const NO_TOKEN = missing(`no MCP token to try: give one with ${forApp('--token-file (or - for standard input)')}`)

const mcpToken: Subject<{ readonly token: string }> = ({ token }) => (token === undefined ? NO_TOKEN : { token })

/** The MCP token after `token.accepted`, without which the checks below are left out. */
const verifiedToken = ({ verified }: Examination) => verified ?? NO_TOKEN

interface PassedThrough {
  readonly verified: VerifiedToken
  readonly audience: readonly string[]
}

const passedThrough: Subject<PassedThrough> = (context) => {
  const { nextcloud } = context.config
  const passesOn = nextcloud !== undefined && MODES[nextcloud.mode].credentialFrom === 'mcp-token'
  if (!passesOn) return missing('not in this mode')
  const verified = verifiedToken(context)
  return 'missing' in verified ? verified : { verified, audience: nextcloud.audience }
}

/** The contents of an MCP token, and whether this server would take it. */
export const tokenChecks: readonly Check[] = [
  check({ id: 'token.form', about: mcpToken, run: checkForm }),
  check({ id: 'token.accepted', needs: ['jwks.keys'], about: mcpToken, run: checkAccepted }),
  check({ id: 'token.scopes', needs: ['token.accepted'], about: verifiedToken, run: checkTokenScopes }),
  check({ id: 'pass-through.audience', needs: ['token.accepted'], about: passedThrough, run: checkPassThrough }),
]

function checkForm(context: Examination, { token }: { readonly token: string }): Verdict {
  const { secrets, config } = context
  const jwt = decoded(token)
  if (jwt === undefined) {
    const next = config.introspection === false ? 'so nothing can be read from it' : 'so it can only be introspected'
    return leftOut(`the token is not a JWT, ${next}`)
  }
  const head = ['alg', 'typ', 'kid'].map((name) => `${name} ${secrets.quote(jwt.header[name])}`)
  return passed(`a JWT: ${head.join(', ')}; ${describeClaims(jwt.claims, context)}`)
}

/** Verifies by the code of the server itself. */
async function checkAccepted(context: Examination, { token }: { readonly token: string }): Promise<Verdict> {
  const { verifier, secrets } = context
  const verified = await outcomeOf(() => verifier.verify(token))
  if (verified instanceof InvalidTokenError) return refused(verified)
  if (verified instanceof McpAuthError) {
    return failed(
      `whether this server takes it cannot be told: ${secrets.quote(verified.detail)}`,
      'see the checks of discovery, jwks and client above',
    )
  }
  context.verified = verified
  return passed(
    `this server takes it, as ${secrets.quote(verified.subject)} through ${secrets.quote(verified.clientId)}`,
  )
}

function refused({ reason, diagnosis }: InvalidTokenError): Verdict {
  const usual = REJECTION_ADVICE[reason]
  const special = diagnosis.advice === REMEDIES[reason] ? undefined : diagnosis.advice
  const { advice, option } = special === undefined ? usual : { advice: special, option: undefined }
  return {
    status: 'failed',
    found: `this server would refuse it with 401 invalid_token, reason ${reason}: ${diagnosis.finding}`,
    fix: option === undefined ? advice : `${advice}; that is set by ${waysToGive(option)}`,
    reason,
  }
}

async function checkTokenScopes({ config }: Examination, verified: VerifiedToken): Promise<Verdict> {
  const { requiredScopes } = config
  if (requiredScopes.length === 0) return leftOut('requiredScopes asks for none')
  const outcome = await outcomeOf(() => checkScopes(config, verified, requiredScopes))
  if (!(outcome instanceof McpAuthError)) return passed(`it has ${requiredScopes.join(' ')}`)
  return failed(
    `it would be answered with 403 insufficient_scope: needed are ${requiredScopes.join(' ')}, it has ${verified.scopes.join(' ') || 'none'}`,
    `let the MCP client ask for them and the provider grant them, or change ${waysToGive('requiredScopes')}`,
  )
}

async function checkPassThrough(context: Examination, { verified, audience }: PassedThrough): Promise<Verdict> {
  const token = await outcomeOf(() => passThrough(verified, audience))
  if (!(token instanceof McpAuthError)) {
    context.nextcloudToken = token
    return passed(`aud holds ${audience.join(', ')}`)
  }
  const lacking = audience.filter((value) => !verified.audience.includes(value))
  return failed(
    `aud is ${context.secrets.quote(verified.audience)}, which lacks ${lacking.join(', ')}`,
    `have the provider put both into aud, correct ${waysToGive('nextcloud.audience')}, or use token-exchange mode`,
  )
}
