/** Options that contradict each other do not compile; those that may not, do. */
import {
  mcpAuth,
  MemoryStorage,
  type McpAuthOptions,
  type NextcloudMode,
  type NextcloudOptions,
} from 'mcp-nextcloud-auth'

declare const options: McpAuthOptions
declare const some: Partial<McpAuthOptions>
declare const isProduction: boolean
const issuer = 'https://idp.example.com'
const resource = 'https://mcp.example.com/mcp'
const url = 'https://cloud.example.com'
const storage = new MemoryStorage()
const least = { issuer, resource }

// From the environment alone.
mcpAuth()
mcpAuth(undefined)
mcpAuth({})

// A variable of the exported type, as it is and as a part.
mcpAuth(options)
mcpAuth({ ...options, resource })
mcpAuth({ ...some })
mcpAuth({ ...least, ...some, nextcloud: { url, ...some.nextcloud } })
const built: McpAuthOptions = { ...least, storage, nextcloud: { url, mode: 'refresh-token' } }
mcpAuth(built)
mcpAuth({ ...built, onEvent: (event) => event.type })
const inferred = { ...least, nextcloud: { url } }
mcpAuth(inferred)
declare const mode: NextcloudMode
declare const nextcloud: NextcloudOptions
mcpAuth({ ...least, storage, nextcloud: { url, mode } })
mcpAuth({ ...least, storage, nextcloud })
mcpAuth({ ...least, storage: isProduction ? storage : undefined, nextcloud: { url, mode } })
function wrapped(more: Omit<McpAuthOptions, 'resource'>) {
  return mcpAuth({ resource, ...more })
}
wrapped({ issuer })

// The functions in options have the types of their parameters.
mcpAuth({
  ...least,
  scopeSatisfies: (granted, required) => granted.includes(required.toLowerCase()),
  onEvent: (event) => event.type === 'token.rejected' && event.reason,
  onError: (error, _req, res) => res.writeHead(error.status),
  nextcloud: { url, scopes: (info) => [info.subject.toUpperCase()] },
})

// issuer and issuers
mcpAuth({ resource, issuers: [{ issuer }, { issuer: 'https://other.example.com' }] })
// @ts-expect-error issuers stand in place of issuer
mcpAuth({ issuer, resource, issuers: [{ issuer }] })
mcpAuth({ issuer: undefined, resource, issuers: [{ issuer }] })
// @ts-expect-error in a variable of its own type too
mcpAuth({ ...least, issuers: [{ issuer }] })

// mode and storage
for (const each of ['token-exchange', 'refresh-token', 'app-password', 'jwt-bearer'] as const) {
  mcpAuth({ ...least, storage, nextcloud: { url, mode: each } })
}
mcpAuth({ ...least, storage })
mcpAuth({ ...least, nextcloud: { url, mode: 'pass-through' } })
mcpAuth({ ...least, storage: undefined, nextcloud: { url, mode: 'pass-through' } })
// @ts-expect-error pass-through stores nothing
mcpAuth({ ...least, storage, nextcloud: { url, mode: 'pass-through' } })

// mode and connect
mcpAuth({ ...least, connect: { path: '/connect' }, nextcloud: { url } })
mcpAuth({ ...least, connect: { identity: 'sub' }, nextcloud: { url, mode: 'app-password' } })
mcpAuth({ ...least, connect: false, nextcloud: { url, mode: 'token-exchange' } })
// @ts-expect-error an exchange connects nobody
mcpAuth({ ...least, connect: { path: '/connect' }, nextcloud: { url, mode: 'token-exchange' } })
// @ts-expect-error nor does a token that is passed on
mcpAuth({ ...least, connect: {}, nextcloud: { url, mode: 'pass-through' } })

// preset and endpoints
const tokenEndpoint = 'https://idp.example.com/token'
mcpAuth({ ...least, authorizationServer: { tokenEndpoint }, nextcloud: { url, preset: 'keycloak' } })
mcpAuth({ ...least, authorizationServer: { tokenEndpoint }, nextcloud: { url } })
mcpAuth({
  ...least,
  authorizationServer: { jwksUri: tokenEndpoint },
  nextcloud: { url, preset: 'nextcloud-oauth2-app' },
})
// @ts-expect-error the preset has a token endpoint of its own
mcpAuth({ ...least, authorizationServer: { tokenEndpoint }, nextcloud: { url, preset: 'nextcloud-oauth2-app' } })
const authorizationEndpoint = tokenEndpoint
// @ts-expect-error and an authorization endpoint
mcpAuth({
  ...least,
  authorizationServer: { authorizationEndpoint },
  nextcloud: { url, preset: 'nextcloud-oauth2-app' },
})

// A name or a type that is wrong
// @ts-expect-error the name is misspelt
mcpAuth({ issuer, resource, clientID: 'mcp-server' })
// @ts-expect-error the name within is misspelt
mcpAuth({ issuer, resource, nextcloud: { url, preSet: 'keycloak' } })
// @ts-expect-error it must be a number
mcpAuth({ ...least, clockTolerance: '5' })
// @ts-expect-error there is no such mode
mcpAuth({ ...least, nextcloud: { url, mode: 'refresh' } })
