import type { IncomingMessage } from 'node:http'
import type Provider from 'oidc-provider'
import type { Configuration, Interaction } from 'oidc-provider'
import { base, Prompt } from 'oidc-provider/lib/helpers/interaction_policy/index.js'
import { escapeHtml, page, POLICY } from './page.js'

type KoaMiddleware = Parameters<Provider['use']>[0]

export const signInPath = '/sign-in/'

const policy = base()
// `prompt=select_account` (OIDC Core §3.1.2.1) asks for the account, even if a user is signed in.
policy.add(new Prompt({ name: 'select_account', requestable: true }), 0)

/** Where the provider sends the browser when it has a question for the person in front of it. */
export const interactions: Configuration['interactions'] = {
  policy,
  url: (_ctx, { uid }) => signInPath + uid,
}

/**
 * Two pages, which need no script: who are you, and may this MCP client have these scopes.
 *
 * There is no password, because the people are made up; everything after the question is the real protocol.
 *
 * @param people user ids, in the order in which they are offered
 */
export function signInPages(provider: Provider, people: readonly string[]): KoaMiddleware {
  return async (ctx, next) => {
    if (!ctx.path.startsWith(signInPath)) {
      await next()
      return
    }
    const interaction = await provider.interactionDetails(ctx.req, ctx.res)
    ctx.set('Cache-Control', 'no-store')
    ctx.set('Content-Security-Policy', POLICY)
    if (ctx.method === 'GET') {
      ctx.type = 'html'
      ctx.body = interaction.prompt.name === 'consent' ? consentPage(interaction) : loginPage(people)
      return
    }
    const answer = await readForm(ctx.req)
    ctx.status = 303
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, await resultOf(answer)))

    async function resultOf(form: URLSearchParams): Promise<Record<string, unknown>> {
      const accountId = form.get('user')
      if (accountId !== null && people.includes(accountId)) return { login: { accountId }, select_account: {} }
      if (form.get('decision') === 'allow') return { consent: { grantId: await grantRequestedScopes() } }
      return { error: 'access_denied', error_description: 'The person at the browser said no.' }
    }

    async function grantRequestedScopes(): Promise<string> {
      const accountId = interaction.session?.accountId
      const clientId = textOf(interaction.params['client_id'])
      const grant =
        (interaction.grantId === undefined ? undefined : await provider.Grant.find(interaction.grantId)) ??
        new provider.Grant({ accountId, clientId })
      const scope = textOf(interaction.params['scope'])
      grant.addOIDCScope(scope)
      for (const resource of [interaction.params['resource']].flat()) grant.addResourceScope(textOf(resource), scope)
      return grant.save()
    }
  }
}

function loginPage(people: readonly string[]): string {
  const buttons = people.map((id) => `<button name="user" value="${escapeHtml(id)}">${escapeHtml(id)}</button>`)
  return page('Sign in', `<p>Who are you?</p>\n<form method="post">${buttons.join('')}</form>`)
}

function consentPage({ params, session }: Interaction): string {
  const scopes = textOf(params['scope']).split(' ')
  const resources = [params['resource']].flat().map(textOf)
  return page(
    'Allow access?',
    `<p>The client <code>${escapeHtml(textOf(params['client_id']))}</code> asks for this in your name, ${escapeHtml(session?.accountId ?? '')}:</p>
<ul>${scopes.map((scope) => `<li><code>${escapeHtml(scope)}</code></li>`).join('')}</ul>
<p>at ${resources.map((resource) => `<code>${escapeHtml(resource)}</code>`).join(', ')}</p>
<form method="post"><button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>`,
  )
}

/** Interaction parameters are typed as unknown; the provider has checked that these are text. */
function textOf(parameter: unknown): string {
  return typeof parameter === 'string' ? parameter : ''
}

async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  let body = ''
  for await (const chunk of req.setEncoding('utf8')) body += chunk as string
  return new URLSearchParams(body)
}
