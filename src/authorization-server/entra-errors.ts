import { variableOf } from '../config/declarations.js'

/**
 * The one who can mend a refusal of Entra.
 *
 * - `user`: by signing in again
 * - `consent`: an administrator; where a person is at a browser, that person, too
 * - `policy`: an administrator; where there is a claims challenge, the user, to whom Entra itself says what is wrong
 * - `operator`: by another setting, here or at Entra
 * - `nobody`: it passes
 */
export type MendedBy = 'user' | 'consent' | 'policy' | 'operator' | 'nobody'

/** A refusal of Entra that is known by its code. */
export interface EntraRefusal {
  readonly mendedBy: MendedBy
  /** Advice for the operator; undefined where there is nothing for them to do. */
  readonly hint?: string
}

const REGISTRATION = 'App registrations, the app of clientId'
const CONSENT = `nobody has agreed that the app of clientId acts in Nextcloud's app for its users, and an exchange cannot ask them: ${REGISTRATION}, API permissions: add the delegated permission of Nextcloud's app whose scope is in nextcloud.scopes, and press "Grant admin consent".`
const SCOPES =
  "nextcloud.scopes must be ['<Application ID URI of Nextcloud's app>/.default'], and connect.scopes scopes of that one app."
const WEB = `${REGISTRATION}, Authentication: the redirect URI auth.connectRedirectUri must stand there under the platform Web.`
const SAME_POLICY =
  "a Conditional Access policy wants more of the user: put it on this server's app as well, so that users meet it when they sign in."

/**
 * Refusals by code, from Microsoft's list of AADSTS error codes and the answers of its token endpoint. The same code comes under several
 * values of `error`, and `invalid_grant` stands for nearly all of them.
 */
const BY_CODE: ReadonlyMap<string, EntraRefusal> = new Map(
  (
    [
      // The MCP token, or the refresh token.
      [
        [50013],
        'user',
        "the MCP token has ended, or Entra cannot verify it. If fresh ones are refused, too: this server's app must have no signing key of its own (claims mapping, SAML).",
      ],
      [[500133], 'user', 'the MCP token had ended: if it was fresh, compare the clocks.'],
      [[700084], 'user', `its redirect URI is one of a single-page application, whose tokens end after a day. ${WEB}`],
      [[50089, 50132, 50133, 50173, 70000, 70008, 700082, 70043, 50085, 50144, 50055, 50057, 50053], 'user'],
      [[50072, 50074, 50076, 50078, 50079, 50097, 50129, 50155, 50158, 53000, 53001, 53002], 'user', SAME_POLICY],
      // Consent and policy.
      [[65001, 65004, 90008, 90094, 90095], 'consent', CONSENT],
      [
        [53003, 53004, 530035, 50131],
        'policy',
        "a Conditional Access policy for Nextcloud's app blocks this: Monitoring, Sign-in logs name it; it must let this server's address and app in.",
      ],
      // What is asked for, and of whom.
      [
        [500131],
        'operator',
        `the MCP token is for another app than that of clientId: clientId (${variableOf('clientId')}) must be the app whose Application ID URI is resource (in lower case), and MCP clients must ask for a scope of that app.`,
      ],
      [
        [7000114],
        'operator',
        'the MCP token is that of an application (client credentials), and on-behalf-of needs that of a person: let the MCP client sign a user in. To let no such token in, require a scope (requiredScopes): they have roles and no scopes.',
      ],
      [[65005, 650056, 650057], 'operator', CONSENT],
      [
        [50001, 500011, 650052, 650054],
        'operator',
        `there is no such app in this tenant. ${SCOPES} In another tenant than its own, an administrator must add that app first.`,
      ],
      [[28002, 28003, 70011, 650053], 'operator', SCOPES],
      [[90009], 'operator', `this server asks for a token for itself. ${SCOPES}`],
      [
        [9010010],
        'operator',
        'resource and scopes are of two apps: leave nextcloud.resource and the parameter resource of connect.authorizationParameters out.',
      ],
      [
        [50105],
        'operator',
        'Enterprise applications, the app that the message names, Users and groups: assign the user, or switch "Assignment required" off (Properties).',
      ],
      [[50014, 50020, 50034, 51004], 'operator', 'the user is not in the tenant of issuer: invite them as a guest.'],
      // This server as a client.
      [
        [7000215, 70002],
        'operator',
        `${REGISTRATION}, Certificates & secrets: clientSecret must be the Value of a secret, not its Secret ID.`,
      ],
      [
        [7000222],
        'operator',
        `the client secret has expired. ${REGISTRATION}, Certificates & secrets: make a new one.`,
      ],
      [[7000218], 'operator', 'no secret was sent: set clientSecret (or clientAuth).'],
      [[700025], 'operator', `the app is a public client there. ${WEB}`],
      [
        [50012, 700024, 700027, 700030],
        'operator',
        'the key of clientAuth must be that of a certificate under Certificates & secrets, and the clocks must agree.',
      ],
      [
        [700011, 700016],
        'operator',
        'clientId is no app of this tenant: compare clientId with "Application (client) ID", and the tenant in issuer.',
      ],
      [
        [70001, 7000112],
        'operator',
        'Enterprise applications, the app, Properties: switch "Enabled for users to sign-in" on.',
      ],
      [[90002], 'operator', 'there is no such tenant: issuer must be https://login.microsoftonline.com/TENANT/v2.0.'],
      [[50194], 'operator', 'issuer must name one tenant, and not common or organizations.'],
      [
        [50146],
        'operator',
        `${REGISTRATION}, Manifest: set acceptMappedClaims to null, or give the app a signing key.`,
      ],
      [[70003], 'operator', "set nextcloud.mode to 'jwt-bearer': Entra has no token exchange."],
      [
        [9002313],
        'operator',
        'the request is malformed: look at nextcloud.parameters, and for blanks in clientId and nextcloud.scopes.',
      ],
      [[50011, 500113, 70004, 9002325, 9002326, 9002327], 'operator', WEB],
      [
        [54005],
        'operator',
        'the code was spent before: something (a scanner, a proxy) opened the address twice. The user must start again.',
      ],
      // It passes.
      [[50000, 50033, 50087, 50088, 50196, 70012, 90006, 90012, 90024, 90033, 90055], 'nobody'],
    ] as const satisfies readonly (readonly [codes: readonly number[], mendedBy: MendedBy, hint?: string])[]
  ).flatMap(([codes, mendedBy, hint]) => {
    const refusal: EntraRefusal = { mendedBy, ...(hint !== undefined && { hint: `At Entra: ${hint}` }) }
    return codes.map((code) => [String(code), refusal] as const)
  }),
)

const CODES = /\bAADSTS(\d{4,9})\b/g
/** Matches the older words for 500131, which came under the code 50013. */
const OTHER_AUDIENCE = /\bAssertion audience\b/i

/** Returns what is known of a refusal by Entra's code in the description; undefined for an unknown one, and for other servers. */
export function entraRefusal(description = ''): EntraRefusal | undefined {
  const codes = Array.from(description.matchAll(CODES), ([, code = '']) => code)
  if (codes.length > 0 && OTHER_AUDIENCE.test(description)) return BY_CODE.get('500131')
  // Where there are several, the first is the general one.
  return codes.flatMap((code) => BY_CODE.get(code) ?? []).at(-1)
}
