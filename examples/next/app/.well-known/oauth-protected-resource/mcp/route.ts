import { SCOPES } from '../../../../lib/auth'
import { metadataEndpoint } from '../../../../lib/endpoint'

export const dynamic = 'force-dynamic'

export const GET = metadataEndpoint(() => {
  const { NEXTCLOUD_MCP_SERVER_URL: resource = '', OIDC_ISSUER: issuer = '' } = process.env
  return { resource, issuer, scopes: SCOPES }
})
