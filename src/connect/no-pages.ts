import { ConfigurationError } from '../errors/errors.js'
import type { Connect } from './connect.js'

/** The room in place of connect pages that are switched off: it has no link to them. */
export const noPages: Connect = {
  redirectUri: undefined,
  routes: () => new Map(),
  linkFor: () => Promise.reject(new ConfigurationError('The connect pages are switched off', 'connect')),
  withLink: (_caller, outcome) => outcome,
  callsItself: () => Promise.resolve(),
  close: () => undefined,
  settle: () => Promise.resolve(),
}
