/** Advice for operators whose provider has a tenant for each organisation. */
export const LIST_TENANTS =
  'list the tenants, one entry of issuers each (Entra: https://login.microsoftonline.com/<tenant id>/v2.0; the tenant id is on the Overview page of the tenant at entra.microsoft.com, in az account show --query tenantId, and in the issuer of https://login.microsoftonline.com/<a domain of the tenant>/v2.0/.well-known/openid-configuration)'

/** Whether an issuer has a place for a tenant in it, as the documents of Entra for all tenants have (`{tenantid}`), or a wildcard. */
export function isIssuerTemplate(issuer: string): boolean {
  return /[{}*]|%7B|%7D|%2A/i.test(issuer)
}
