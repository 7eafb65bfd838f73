import { attributesOf, wordsOf } from '../../support/html.js'
import type { Account, Target } from './target.js'

/** Agrees at the page of a login flow with an app password ("Alternative log in using app password"): the words of the last page. */
export async function grantWithAppPassword(login: string, user: string, password: string): Promise<string> {
  const cookies = new Map<string, string>()
  async function visit(url: string, body?: URLSearchParams): Promise<Response> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie },
      ...(body && { method: 'POST', body }),
    })
    for (const header of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
      cookies.set(name, value)
    }
    const next = response.headers.get('location')
    return next === null ? response : visit(new URL(next, url).href)
  }

  const html = await (await visit(login)).text()
  const [, tag = '', inside = ''] = /<form\b([^>]*id="app-token-login-field"[^>]*)>(.*?)<\/form>/s.exec(html) ?? []
  const fields = new URLSearchParams({ user, password })
  for (const [, text = ''] of inside.matchAll(/<input\b([^>]*)>/g)) {
    const { type, name = '', value = '' } = attributesOf(text)
    if (type === 'hidden') fields.set(name, value)
  }
  const action = attributesOf(tag)['action']
  if (action === undefined) throw new Error('The page of the login flow has no form for an app password')
  return wordsOf(await (await visit(action, fields)).text())
}

/** An app password of an account that has no password of its own, as those that `user_oidc` makes. */
export async function createAppPassword(target: Target, uid: Account['uid']): Promise<string> {
  const output = await target.occ('user:auth-tokens:add', uid)
  const password = output.split('\n').at(-1)?.trim() ?? ''
  if (password.length < 20) throw new Error('occ made no app password')
  return password
}
