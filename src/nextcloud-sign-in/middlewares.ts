import type { IncomingMessage } from 'node:http'
import type { KoaContextWithOIDC, Provider } from 'oidc-provider'
import { METADATA_CACHE } from '../http/resource-metadata.js'
import type { ShowError } from './error-pages.js'
import { PATHS, resumedBy } from './paths.js'
import type { QuestionCookies } from './question-cookies.js'

export type Middleware = Parameters<Provider['use']>[0]

/** RFC 6749 §3.3: a client that asks for no scope of this server asks for the default, which is all of them. */
function withDefaultScope(scopes: readonly string[]): Middleware {
  return async (ctx, next) => {
    const { scope: given = '' } = ctx.query
    // A scope that comes twice is oidc-provider's to refuse.
    if (ctx.path === PATHS.authorization && typeof given === 'string') {
      const asked = given.split(' ')
      if (!asked.some((scope) => scopes.includes(scope))) {
        ctx.query = { ...ctx.query, scope: [...asked, ...scopes].filter((scope) => scope !== '').join(' ') }
      }
    }
    await next()
  }
}

/** The form with which it would send codes has a script, which the policies of most apps forbid, so that people would see an empty page. */
const FORM = 'form_post'

const withoutFormPost: Middleware = async (ctx, next) => {
  // Any name that is not known is refused as this one.
  if (ctx.path === PATHS.authorization && ctx.query['response_mode'] === FORM) {
    ctx.query = { ...ctx.query, response_mode: 'form' }
  }
  await next()
}

/** Names the scopes of this server in the metadata (RFC 8414 §2), where oidc-provider has its own alone, and says how long it is good. */
function withOwnMetadata(scopes: readonly string[]): Middleware {
  return async (ctx, next) => {
    await next()
    if (!ctx.path.startsWith('/.well-known/') || ctx.status !== 200) return
    ctx.set('Cache-Control', METADATA_CACHE)
    const metadata = ctx.body as Readonly<Record<'scopes_supported' | 'response_modes_supported', readonly string[]>>
    ctx.body = {
      ...metadata,
      scopes_supported: [...scopes, ...metadata.scopes_supported],
      response_modes_supported: metadata.response_modes_supported.filter((mode) => mode !== FORM),
    }
  }
}

const withRetryAfter: Middleware = async (ctx, next) => {
  await next()
  if (ctx.status === 503 && !ctx.res.hasHeader('Retry-After')) ctx.set('Retry-After', '5')
}

/** Tells of each authorization request that leaves no question in the store. */
function withNothingAsked(onNothingAsked: Steps['onNothingAsked']): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } finally {
      // Without a route of oidc-provider there is none of it.
      const { oidc } = ctx as Partial<KoaContextWithOIDC>
      if (ctx.path === PATHS.authorization && oidc?.entities.Interaction === undefined) onNothingAsked(ctx.req)
    }
  }
}

/** Ends the cookie of a question that has led back to its client. While the store is unavailable, the browser may come again. */
function withEndOfQuestion(questions: QuestionCookies): Middleware {
  return async (ctx, next) => {
    await next()
    const question = resumedBy(ctx.path)
    if (question !== undefined && ctx.status === 303) ctx.append('Set-Cookie', await questions.end(question))
  }
}

/**
 * Leads nobody to an address that anybody may have registered, unless that client is trusted (RFC 9700 §4.11.2). Each error of any other is
 * a page, from which the person goes on or does not.
 */
function withoutOpenRedirect({ isTrusted, showError }: Pick<Steps, 'isTrusted' | 'showError'>): Middleware {
  return async (given, next) => {
    await next()
    // Whatever has set a Location has made one.
    const ctx = given as KoaContextWithOIDC
    const to = ctx.res.getHeader('Location')
    if (ctx.path !== PATHS.authorization || typeof to !== 'string' || to.startsWith(`${PATHS.interaction}/`)) return
    if (await isTrusted(ctx)) return
    ctx.remove('Location')
    showError(ctx, errorIn(to), to)
  }
}

/** Returns the error that oidc-provider has put into a redirect URI, which may have a query of its own and no fragment. */
function errorIn(to: string): string {
  const { hash, searchParams } = new URL(to)
  return (hash === '' ? searchParams : new URLSearchParams(hash.slice(1))).get('error') ?? ''
}

interface Steps {
  readonly scopes: readonly string[]
  readonly questions: QuestionCookies
  /** Whether the client of a request may get answers about which nobody was asked. */
  readonly isTrusted: (ctx: KoaContextWithOIDC) => Promise<boolean>
  readonly showError: ShowError
  /** Called for an authorization request about which nobody is asked. */
  readonly onNothingAsked: (req: IncomingMessage) => void
}

/** Returns the steps of each request to oidc-provider, the outermost first. */
export function middlewaresOf({ scopes, questions, onNothingAsked, ...redirects }: Steps): readonly Middleware[] {
  return [
    withNothingAsked(onNothingAsked),
    withDefaultScope(scopes),
    withoutFormPost,
    withOwnMetadata(scopes),
    withRetryAfter,
    withEndOfQuestion(questions),
    withoutOpenRedirect(redirects),
  ]
}
