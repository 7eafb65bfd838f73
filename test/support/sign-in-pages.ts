import type { Page } from '../../src/connect/pages/document.js'
import { createSignInPages, type Asked } from '../../src/nextcloud-sign-in/sign-in-pages.js'
import { astrayPage, notFoundPage } from '../../src/serve/astray.js'
import { landingPage } from '../../src/serve/landing-page.js'
import { SCOPES } from '../../src/serve/tools/tool.js'
import { plainWords, type PageWords } from './connect-pages.js'

/** Every page of a sign-in at Nextcloud alone, by what shows it, and the page at `/` of `serve`. */
export function everySignInPage(words: PageWords = plainWords): ReadonlyMap<string, Page> {
  const { serverName, nextcloudHost, clientName, clientHost, host, formValue, error, query } = words
  const pages = createSignInPages({ serverName, nextcloudHost, redirectUri: `https://${host}/nextcloud/callback` })
  const form = { action: '/oauth/sign-in/k3Jd9x', formValue }
  const asked: Asked = {
    client: { name: clientName, host: clientHost },
    callsItself: undefined,
    goesTo: { place: clientHost, isOnDevice: false },
    scopes: words === plainWords ? Object.values(SCOPES) : words.scopes,
    user: undefined,
  }
  const registered = {
    client: { id: words.clientId },
    callsItself: clientName,
    goesTo: { place: '127.0.0.1', isOnDevice: true },
  }
  const nextcloud = new URL(`https://${nextcloudHost}`)
  return new Map([
    ['signIn.consent', pages.consent(asked, form)],
    ['signIn.consent of a registered app', pages.consent({ ...asked, ...registered }, form)],
    ['signIn.consent of somebody known', pages.consent({ ...asked, user: clientName }, form)],
    ['signIn.goOn', pages.goOn(`https://cloud.example.com/index.php/apps/oauth2/authorize?${query}`, 'nextcloud')],
    ['signIn.goOn to the app', pages.goOn('http://127.0.0.1:33418/callback', 'app')],
    ['signIn.unknown', pages.unknown()],
    ['signIn.anotherPerson', pages.anotherPerson(`https://${clientHost}/oauth/authorize?${query}`)],
    ['signIn.notFromHere', pages.notFromHere()],
    ['signIn.badAnswer', pages.badAnswer()],
    ['signIn.notLetIn', pages.notLetIn(error)],
    ['signIn.notLetIn with a wrong secret', pages.notLetIn('invalid_client')],
    ['signIn.tooMany', pages.tooMany()],
    ['signIn.noAnswer', pages.noAnswer()],
    ['signIn.refused', pages.refused(error)],
    ['signIn.refused with a way back', pages.refused(error, `https://${clientHost}/callback?${query}`)],
    ['signIn.otherAccount', pages.otherAccount()],
    ['astray', astrayPage({ resource: `https://${host}/mcp` })],
    ['notFound', notFoundPage({ resource: `https://${host}/mcp` })],
    ['landing', landingPage(`https://${words === plainWords ? 'mcp.example.com' : host}/mcp`, nextcloud)],
    ['landing on this computer', landingPage('http://localhost:3000/mcp', nextcloud)],
  ])
}
