import type { ConnectOptions, McpAuthOptions, NextcloudMode, NextcloudPreset } from './options.js'

/** Pairs of options that contradict each other, as what is left of them. */
type Consistent = (Without<'issuer'> | Without<'issuers'>) &
  (Without<'storage'> | InModes<Exclude<NextcloudMode, 'pass-through'>>) &
  (Without<'connect', false> | InModes<'refresh-token' | 'app-password'>) &
  (
    | { readonly authorizationServer?: WithoutEndpoints | undefined }
    | {
        readonly nextcloud?:
          { readonly preset?: Exclude<NextcloudPreset, 'nextcloud-oauth2-app'> | undefined } | undefined
      }
  )

type Without<Option extends keyof McpAuthOptions, Off = never> = { readonly [Name in Option]?: Off | undefined }

interface InModes<Mode> {
  readonly nextcloud?: { readonly mode?: Mode | undefined } | undefined
}

/** The preset `nextcloud-oauth2-app` has these of its own, to which the client's secret goes. */
interface WithoutEndpoints {
  readonly authorizationEndpoint?: undefined
  readonly tokenEndpoint?: undefined
}

/** Options of which no two contradict each other. */
export type ConsistentOptions = McpAuthOptions & Consistent

/** Options of which the compiler cannot tell whether two contradict each other, such as a variable of the type {@link McpAuthOptions}. */
export type UndecidedOptions<Options extends McpAuthOptions> = Options extends ConsistentOptions
  ? never
  : Options extends Contradiction
    ? never
    : Options

/** Whatever is not `undefined`. */
type Given = string | object

type Contradiction =
  | { readonly issuer: Given; readonly issuers: Given }
  | { readonly storage: Given; readonly nextcloud: { readonly mode: 'pass-through' } }
  | {
      readonly connect: ConnectOptions
      readonly nextcloud: { readonly mode: Exclude<NextcloudMode, 'refresh-token' | 'app-password'> }
    }
  | {
      readonly authorizationServer: { readonly authorizationEndpoint: Given } | { readonly tokenEndpoint: Given }
      readonly nextcloud: { readonly preset: 'nextcloud-oauth2-app' }
    }
