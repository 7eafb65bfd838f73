/** The error family, by who is at fault. */
export * from './base.js'
export * from './caller.js'
export * from './operator.js'
export * from './outside.js'
export type { DpopProofFault, InvalidTokenReason } from './rejection-details.js'
