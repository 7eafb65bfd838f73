import type { GetNextcloudToken, McpAuthInfo } from './auth-info.js'

export { mcpAuth } from './mcp-auth.js'
export type { AuthenticationVerdict, McpAuth, PlainRequest, Who } from './mcp-auth.js'
export type { ConnectedClient, ConnectionPage, ConnectionPageOptions, NextcloudConnection } from './connection-list.js'
export type { Revocation } from './broker/disconnect.js'
export type { NextcloudRequest, NextcloudRequestBody } from './nextcloud/nextcloud-fetch.js'
export { nextcloudPath } from './nextcloud/path-template.js'
export type { NextcloudUser } from './nextcloud/users.js'
export type { ConnectHandler } from './http/router.js'
export type { McpAuthHealth } from './health.js'
export type { AuthenticatedRequest, ErrorHandler } from './http/authentication.js'
export type { GetNextcloudToken, McpAuthExtra, McpAuthInfo, NextcloudTokenOptions } from './auth-info.js'
export type { NextcloudCredential, NextcloudHeaders } from './auth-info.js'
export type {
  AuthorizationServerOptions,
  CacheOptions,
  ConnectedAccount,
  ConnectingUser,
  ConnectOptions,
  FetchFunction,
  HttpOptions,
  IdentityRule,
  IssuerOptions,
  McpAuthOptions,
  NextcloudMode,
  NextcloudOptions,
  NextcloudPreset,
} from './options.js'
export { MemoryStorage } from './storage/memory.js'
export type { MemoryStorageOptions } from './storage/memory.js'
export type { KeyPage, StorageAdapter, StoredEntry } from './storage-adapter.js'
export type { RejectionDetails, ShownValue } from './errors/rejection-details.js'
export { logEvents } from './event-log.js'
export type { EventLogger } from './event-log.js'
export type { ConnectFailureReason, IdpOperation, McpAuthEvent, McpAuthStats, RejectionReason } from './events.js'
export {
  AudienceMismatchError,
  ConfigurationError,
  InsufficientScopeError,
  InternalError,
  InvalidDpopProofError,
  InvalidRequestError,
  InvalidTokenError,
  McpAuthError,
  NextcloudRefusedError,
  NotProvisionedError,
  SealedValueError,
  StorageError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UnauthorizedError,
  UpstreamUnavailableError,
} from './errors/errors.js'
export type {
  ClaimsChallenge,
  ConnectLink,
  DpopProofFault,
  ErrorBody,
  InvalidTokenReason,
  NextcloudRefusal,
  NotProvisionedReason,
  SubjectTokenRejection,
  TokenRequestFailure,
  UpstreamFailure,
} from './errors/errors.js'

declare global {
  namespace Express {
    interface Request {
      /** The verified MCP token, behind the `mcpAuth()` middleware. */
      mcpAuth: McpAuthInfo
      /** Gets a Nextcloud token for the user of this request, behind the `mcpAuth()` middleware. */
      getNextcloudToken: GetNextcloudToken
    }
  }
}
