/** The issuers of a tenant of Entra, for version 1.0 and 2.0 of its access tokens. */
const FORMS = [
  { version: '1.0', form: /^https:\/\/sts\.windows\.net\/([\w-]+)\/$/ },
  { version: '2.0', form: /^https:\/\/login\.microsoftonline\.com\/([\w-]+)\/v2\.0$/ },
] as const

/** Returns the advice on an issuer of Entra that is not configured, where others of Entra are. */
export function adviceForEntra(found: unknown, configured: readonly string[]): string | undefined {
  const other = entraIssuer(found)
  const known = configured.map(entraIssuer).filter((one) => one !== undefined)
  if (other === undefined || known.length === 0) return undefined
  if (!known.some(({ tenant }) => tenant === other.tenant)) return OTHER_TENANT
  const change =
    other.version === '1.0'
      ? 'set requestedAccessTokenVersion (in older manifests accessTokenAcceptedVersion) to 2 in the manifest of the app registration of this server'
      : `make https://login.microsoftonline.com/${other.tenant}/v2.0 the issuer`
  return `it is an access token of version ${other.version} of Entra: ${change}, or, to take both versions, replace issuer by issuers with https://sts.windows.net/${other.tenant}/ (1.0) and https://login.microsoftonline.com/${other.tenant}/v2.0 (2.0)`
}

const OTHER_TENANT =
  'it is of another tenant of Entra: if its users are to come in, list the issuer of that tenant with issuers'

function entraIssuer(issuer: unknown): { readonly version: string; readonly tenant: string } | undefined {
  if (typeof issuer !== 'string') return undefined
  for (const { version, form } of FORMS) {
    const tenant = form.exec(issuer)?.[1]
    if (tenant !== undefined) return { version, tenant }
  }
  return undefined
}
