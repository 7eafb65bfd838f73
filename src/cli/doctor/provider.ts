import { behindIndex, fetchDocument, fetchForm } from '../../authorization-server/metadata.js'
import { redirectTarget } from '../../transport/answer.js'
import type { IdpFetch } from '../../transport/transport.js'
import { waysToGive } from './words.js'
import { missing, type Subject } from './check.js'
import { fetched, type Examination } from './examination.js'
import type { Server } from './network.js'
import { isAnswer, objectIn, type Answer, type NoAnswer } from './probe.js'

/** The document that this server goes by, if it needs one. */
export const providerMetadata: Subject<Answer | NoAnswer> = (context) =>
  context.needs.metadata
    ? lookUp(context, (fetch) => fetchDocument(context.config, fetch))
    : missing('every endpoint is configured by hand, so nothing is discovered')

/** Returns the document at one of the two addresses at which MCP clients look for it. */
export const wellKnown = (context: Examination, issuer: string, form: 'oidc' | 'oauth2'): Promise<Answer | NoAnswer> =>
  lookUp(context, (fetch) => fetchForm(issuer, form, fetch))

/** Lets the discovery of the server itself choose the addresses, and returns the last answer as it is. */
async function lookUp(context: Examination, look: (fetch: IdpFetch) => Promise<Response>): Promise<Answer | NoAnswer> {
  let last: Answer | NoAnswer = { url: '', code: 'NOT_ASKED' }
  await look(async (url) => {
    last = await fetched(context, url)
    const redirect = isAnswer(last) ? redirectTarget(last, url) : undefined
    const moved = redirect && behindIndex(url, redirect)
    if (moved !== undefined) last = await fetched(context, moved)
    return new Response(null, { status: isAnswer(last) ? last.status : 504 })
  })
  return last
}

/** Returns the issuer that a document names; undefined if it is not a metadata document. */
export function issuerIn(result: Answer | NoAnswer): string | undefined {
  const issuer = isAnswer(result) && result.status === 200 ? objectIn(result)?.['issuer'] : undefined
  return typeof issuer === 'string' ? issuer : undefined
}

/** The issuer that is configured, else the one that the document names. */
export const knownIssuer: Subject<{ readonly issuer: string }> = async (context) => {
  const document = context.config.issuer === undefined ? await providerMetadata(context) : missing('')
  const issuer = context.config.issuer ?? ('missing' in document ? undefined : issuerIn(document))
  return issuer !== undefined && URL.canParse(issuer) ? { issuer } : missing('the issuer is not known')
}

export const PROVIDER: Server = {
  id: 'issuer',
  name: 'the provider',
  configured: waysToGive('issuer', 'discoveryUrl'),
  ask: providerMetadata,
  needs: (context) => (isNextcloud(context) ? ['nextcloud.status'] : []),
}

/** Whether Nextcloud itself is the provider, so that what is wrong with the one is wrong with the other. */
function isNextcloud({ config: { issuer = '', nextcloud } }: Examination): boolean {
  return [nextcloud?.base, nextcloud?.publicBase].includes(issuer.replace(/\/?$/, '/'))
}
