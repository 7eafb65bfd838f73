import { describe, expect, it } from 'vitest'
import { entraRefusal } from '../../src/authorization-server/entra-errors.js'
import type { TokenErrorAnswer } from '../../src/authorization-server/token-answer.js'
import { classifyExchangeError, classifyGrantError, meansDead } from '../../src/authorization-server/token-error.js'
import type { McpAuthError } from '../../src/errors/errors.js'
import { quirksOf } from '../../src/presets.js'

const CLAIMS = 'eyJhY2Nlc3NfdG9rZW4iOnt9fSAg'
const IDS = ' Trace ID: b72a68c3-0926-4b8e-bc35-3150069c2800 Correlation ID: 73d656cf-54b1-4eb2-b429-26d8165a52d7'
const refused = (error: string, description: string, more?: Partial<TokenErrorAnswer>): TokenErrorAnswer => ({
  error,
  description: description + IDS,
  httpStatus: 400,
  ...more,
})
/** Returns the hint for the operator, wherever the error has it. */
const hintOf = (failure: McpAuthError): unknown =>
  'rejection' in failure ? (failure.rejection as { hint?: string }).hint : Reflect.get(failure, 'hint')

/** The status of a refused exchange, whether a refresh token is dead after the same words, the words of Entra, and those for the operator. */
type Row = [exchange: 401 | 502 | 503, dead: boolean, error: string, description: string, hint?: RegExp]

const ROWS: readonly Row[] = [
  // The caller has to sign in again.
  [
    401,
    true,
    'invalid_grant',
    'AADSTS50013: Assertion failed signature validation. [Reason - The key was not found.]',
    /signing key/,
  ],
  [401, true, 'invalid_grant', 'AADSTS500133: Assertion is not within its valid time range.', /clocks/],
  [401, true, 'invalid_grant', 'AADSTS50173: The provided grant has expired due to it being revoked.'],
  [401, true, 'invalid_grant', 'AADSTS70000: Provided grant is invalid or malformed.'],
  [401, true, 'invalid_grant', 'AADSTS70008: The provided authorization code or refresh token has expired.'],
  [401, true, 'invalid_grant', 'AADSTS700082: The refresh token has expired due to inactivity.'],
  [
    401,
    true,
    'invalid_grant',
    'AADSTS700084: The refresh token was issued to a single page app (SPA).',
    /platform Web/,
  ],
  [401, true, 'invalid_grant', 'AADSTS70043: The refresh token has expired due to sign-in frequency checks.'],
  [401, true, 'invalid_grant', 'AADSTS50057: The user account is disabled.'],
  [
    401,
    true,
    'invalid_grant',
    'AADSTS50076: you must use multi-factor authentication to access it.',
    /Conditional Access/,
  ],
  [
    401,
    true,
    'interaction_required',
    'AADSTS50079: you must enroll in multi-factor authentication.',
    /Conditional Access/,
  ],
  [401, true, 'interaction_required', 'AADSTS53000: Device is not in required device state.', /Conditional Access/],
  // An administrator has to consent; a person at a browser may.
  [502, true, 'invalid_grant', 'AADSTS65001: The user or administrator has not consented.', /Grant admin consent/],
  [
    502,
    true,
    'interaction_required',
    'AADSTS65001: The user or administrator has not consented.',
    /Grant admin consent/,
  ],
  // The operator has to change something.
  [502, false, 'invalid_grant', 'AADSTS53003: Access has been blocked by Conditional Access policies.', /Sign-in logs/],
  [
    502,
    false,
    'invalid_grant',
    'AADSTS500131: Assertion audience does not match the Client app.',
    /clientId \(OIDC_CLIENT_ID\) must be the app whose Application ID URI is resource/,
  ],
  [
    502,
    false,
    'invalid_grant',
    'AADSTS50013: Assertion audience does not match the Client app.',
    /clientId \(OIDC_CLIENT_ID\) must be/,
  ],
  [
    502,
    false,
    'invalid_grant',
    'AADSTS70002: Error validating credentials. AADSTS50013: Assertion audience claim is wrong.',
    /clientId \(OIDC_CLIENT_ID\) must be/,
  ],
  [
    502,
    false,
    'unauthorized_client',
    "AADSTS7000114: Application 'a' is not allowed to make application on-behalf-of calls.",
    /client credentials.*requiredScopes/,
  ],
  [
    502,
    false,
    'invalid_grant',
    "AADSTS7000114: Application 'a' is not allowed to make application on-behalf-of calls.",
    /client credentials/,
  ],
  [
    502,
    false,
    'invalid_resource',
    'AADSTS500011: The resource principal named api://x was not found in the tenant.',
    /no such app in this tenant.*nextcloud\.scopes/,
  ],
  [502, false, 'invalid_grant', 'AADSTS650057: Invalid resource.', /API permissions/],
  [
    502,
    false,
    'invalid_scope',
    'AADSTS70011: The provided request must include a scope input parameter.',
    /nextcloud\.scopes.*\.default/,
  ],
  [
    502,
    false,
    'invalid_scope',
    'AADSTS28002: Provided value for the input parameter scope is not valid.',
    /nextcloud\.scopes/,
  ],
  [502, false, 'invalid_request', 'AADSTS90009: Application is requesting a token for itself.', /for itself/],
  [
    502,
    false,
    'invalid_target',
    'AADSTS9010010: The resource parameter provided in the request does not match.',
    /leave nextcloud\.resource/,
  ],
  [
    502,
    false,
    'invalid_grant',
    'AADSTS50105: The signed in user is not assigned to a role for the application.',
    /Users and groups/,
  ],
  [502, false, 'invalid_grant', 'AADSTS50020: User account does not exist in tenant.', /guest/],
  [
    502,
    false,
    'invalid_client',
    'AADSTS7000215: Invalid client secret provided.',
    /the Value of a secret, not its Secret ID/,
  ],
  [
    502,
    false,
    'invalid_client',
    'AADSTS7000222: The provided client secret keys are expired.',
    /expired.*make a new one/,
  ],
  [
    502,
    false,
    'invalid_client',
    'AADSTS7000218: The request body must contain client_assertion or client_secret.',
    /set clientSecret/,
  ],
  [502, false, 'invalid_client', 'AADSTS700025: Client is public.', /public client/],
  [502, false, 'invalid_client', 'AADSTS700027: Client assertion failed signature validation.', /clientAuth/],
  [502, false, 'unauthorized_client', 'AADSTS700016: Application was not found in the directory.', /compare clientId/],
  [502, false, 'unauthorized_client', 'AADSTS7000112: Application is disabled.', /Enabled for users to sign-in/],
  [502, false, 'invalid_request', "AADSTS90002: Tenant 'x' not found.", /issuer must be/],
  [
    502,
    false,
    'invalid_request',
    'AADSTS50194: Application is not configured as a multi-tenant application.',
    /one tenant/,
  ],
  [502, false, 'unsupported_grant_type', 'AADSTS70003: The app requested an unsupported grant type.', /'jwt-bearer'/],
  [502, false, 'invalid_request', 'AADSTS9002313: Invalid request. Request is malformed or invalid.', /malformed/],
  [502, false, 'invalid_grant', 'AADSTS9002313: Invalid request. Request is malformed or invalid.', /malformed/],
  // It passes.
  [503, false, 'temporarily_unavailable', 'AADSTS90033: A transient error has occurred. Please try again.'],
  [503, false, 'invalid_request', 'AADSTS90033: A transient error has occurred. Please try again.'],
  [
    503,
    false,
    'invalid_grant',
    'AADSTS50196: The server terminated an operation because it encountered a client request loop.',
  ],
  [503, false, 'invalid_request', 'AADSTS90055: There are too many incoming requests.'],
  // Unknown codes are judged by `error`.
  [401, true, 'invalid_grant', 'AADSTS59999: Something new.'],
  [502, false, 'invalid_request', 'AADSTS59999: Something new.', /nextcloud\.parameters/],
]

describe.each(['entra', undefined] as const)('with the preset %s', (preset) => {
  it.each<Row>(ROWS)(
    '%d in an exchange, a refresh token is dead: %s, after %s %s',
    (status, dead, error, description, hint) => {
      const answer = refused(error, description)
      const failure = classifyExchangeError(answer)
      const said = hint === undefined ? undefined : (expect.stringMatching(hint) as string)

      expect(failure).toMatchObject({ status })
      expect(hintOf(failure)).toEqual(said)
      expect(meansDead(answer, quirksOf(preset))).toBe(dead)
    },
  )
})

it.each<Row>(ROWS)(
  '%d: a code is never for the MCP client to mend (%s, %s %s)',
  (status, _dead, error, description, hint) => {
    const failure = classifyGrantError(refused(error, description), 'code')

    expect(failure.status).toBe(status === 503 ? 503 : 502)
    if (hint !== undefined) expect(hintOf(failure)).toMatch(hint)
  },
)

it('a policy that refuses outright reaches the MCP client only with a claims challenge, which has Entra say why', () => {
  const blocked = 'AADSTS53003: Access has been blocked by Conditional Access policies.'

  for (const error of ['invalid_grant', 'interaction_required']) {
    expect(classifyExchangeError(refused(error, blocked, { suberror: 'message_only', claims: CLAIMS }))).toMatchObject({
      status: 401,
      body: { error: 'insufficient_claims' },
    })
    expect(classifyExchangeError(refused(error, blocked))).toMatchObject({ status: 502 })
  }
})

it.each([
  [401, 'AADSTS50076: you must use multi-factor authentication.'],
  [502, 'AADSTS500131: Assertion audience does not match.'],
])('claims turn no other verdict, %d', (status, description) => {
  expect(classifyExchangeError(refused('interaction_required', description, { claims: CLAIMS }))).toMatchObject({
    status,
  })
})

it.each([undefined, '', 'Assertion audience does not match', 'AADSTS', 'AADSTS1', 'XAADSTS50013', 'aadsts50013: x'])(
  'words of other servers, and %j, are not taken for a code of Entra',
  (description) => {
    expect(entraRefusal(description)).toBeUndefined()
  },
)
