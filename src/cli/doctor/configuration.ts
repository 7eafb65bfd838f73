import type { Config } from '../../config/config.js'
import { readConfig } from '../../config/read-config.js'
import { ConfigurationError } from '../../errors/errors.js'
import type { Environment } from '../../options.js'
import { forApp, waysToGive } from './words.js'
import type { Finding } from './check.js'

type Options = Readonly<Record<string, unknown>>

/** Reads the options and variables by the code of `mcpAuth()`, and returns the finding about them. */
export function examineConfiguration(
  options: Options,
  environment: Environment,
): { readonly config: Config | undefined; readonly finding: Finding } {
  try {
    const { config, assumed } = readAsApp(options, environment)
    const { issuer, others, discoveryUrl, resource, nextcloud, warnings } = config
    const found = [
      ...[
        `issuer ${issuer ?? `of ${discoveryUrl?.href ?? ''}`}`,
        ...others.map(({ issuer }) => `issuer ${issuer ?? ''}`),
      ],
      `resource ${resource}`,
      nextcloud === undefined ? 'no Nextcloud' : `Nextcloud ${nextcloud.url.href} in ${nextcloud.mode} mode`,
      ...(assumed.length === 0
        ? []
        : [`taking it that the app sets ${assumed.join(' and ')}, which only its code can`]),
    ].join(', ')
    const fix = warnings.length === 0 ? undefined : warnings.map(([, message]) => message).join('; ')
    return { config, finding: { id: 'config', status: 'passed', found, fix } }
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    const { message, option } = error
    const fix = option === undefined ? `correct ${forApp('the options')}` : `set it by ${waysToGive(option)}`
    return { config: undefined, finding: { id: 'config', status: 'failed', found: message, fix } }
  }
}

/** Functions of an app, which no command line can give. */
const OF_CODE = ['identity', 'authenticateBrowser']

/**
 * Reads them as the app does: functions that are required are taken to be there.
 *
 * @throws {ConfigurationError} something else is wrong
 */
export function readAsApp(
  options: Options,
  environment: Environment,
  assumed: readonly string[] = [],
): { readonly config: Config; readonly assumed: readonly string[] } {
  try {
    return { config: readConfig(options, environment), assumed }
  } catch (error) {
    const lacking = error instanceof ConfigurationError ? error.option : undefined
    const name = OF_CODE.find((member) => lacking === `connect.${member}`)
    if (name === undefined || assumed.includes(`connect.${name}`)) throw error
    const connect = { ...(options['connect'] as object | undefined), [name]: () => false }
    return readAsApp({ ...options, connect }, environment, [...assumed, `connect.${name}`])
  }
}
