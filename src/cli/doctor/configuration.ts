import type { Config } from '../../config/config.js'
import { readConfig } from '../../config/read-config.js'
import { ConfigurationError } from '../../errors/errors.js'
import type { Environment } from '../../options.js'
import type { Finding } from './check.js'
import { waysToGive } from './options.js'

/** Reads the options and variables by the code of `mcpAuth()`, and returns the finding about them. */
export function examineConfiguration(
  options: Readonly<Record<string, unknown>>,
  environment: Environment,
): { readonly config: Config | undefined; readonly finding: Finding } {
  try {
    const config = readConfig(options, environment)
    const { issuer, discoveryUrl, resource, nextcloud, warnings } = config
    const found = [
      `issuer ${issuer ?? `of ${discoveryUrl?.href ?? ''}`}`,
      `resource ${resource}`,
      nextcloud === undefined ? 'no Nextcloud' : `Nextcloud ${nextcloud.url.href} in ${nextcloud.mode} mode`,
    ].join(', ')
    const fix = warnings.length === 0 ? undefined : warnings.map(([, message]) => message).join('; ')
    return { config, finding: { id: 'config', status: 'passed', found, fix } }
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    const { message, option } = error
    const fix = option === undefined ? 'correct the options' : `set it by ${waysToGive(option)}`
    return { config: undefined, finding: { id: 'config', status: 'failed', found: message, fix } }
  }
}
