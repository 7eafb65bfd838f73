import type { KoaContextWithOIDC } from 'oidc-provider'
import { htmlFor, setPageHeaders } from '../connect/pages/document.js'
import type { SignInPages } from './sign-in-pages.js'

/**
 * Shows an error of oidc-provider to the person at the browser.
 *
 * @param back address at which the client waits for it. Undefined: there is none
 */
export type ShowError = (ctx: KoaContextWithOIDC, error: string, back?: string) => void

export function errorPages(pages: Pick<SignInPages, 'refused'>): ShowError {
  return (ctx, error, back) => {
    const page = pages.refused(error, back)
    // Of an error that was to be a redirect, it is that of the redirect.
    const status = ctx.status < 400 ? page.status : ctx.status
    setPageHeaders(ctx.res, { ...page, status })
    ctx.status = status
    ctx.body = htmlFor(ctx.req, page)
  }
}
