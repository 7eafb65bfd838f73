import type { Request, RequestHandler, Response } from 'express'
import { queryOf } from '../connect/browser.js'
import { sendPage, writeDocument, type Page } from '../connect/pages/document.js'
import { markup, shownHost } from '../connect/pages/markup.js'
import { english } from '../connect/pages/texts/en.js'
import { redirectUriOf, type ServeSettings } from './settings.js'

/** Answers a browser that Nextcloud has sent to another address of this server than that of its answers. */
export function answersAstray(settings: ServeSettings): RequestHandler {
  const redirectUri = redirectUriOf(settings)
  const { pathname } = new URL(redirectUri)
  const page = astrayPage(settings)
  return (req, res, next) => {
    const query = queryOf(req)
    const isAnswer = query.has('state') && (query.has('code') || query.has('error'))
    if (req.method !== 'GET' || !isAnswer || req.path.replace(/\/$/, '') === pathname) next()
    else sendPage(req, res, page)
  }
}

/** Answers whoever asks for what is not there: a person with a page. */
export function notFound(settings: ServeSettings): (req: Request, res: Response) => void {
  const page = notFoundPage(settings)
  return (req, res) => {
    if (req.accepts(['json', 'html']) === 'html') sendPage(req, res, page)
    else res.status(404).json({ error: 'not_found' })
  }
}

type Place = Pick<ServeSettings, 'resource'>

export function astrayPage(place: Place): Page {
  const content = markup`
<p>You have signed in at Nextcloud, and it sent you here. It must send you to another address of this server, so nobody was signed in.</p>
<p>If this is your server: the redirection URI of the OAuth 2.0 client in Nextcloud must be this, to the letter. Nextcloud has no button to edit it, so add a second client with it, give this server its identifier and secret, and delete the first. Then connect once more in your app. If it is not yours, please show this page to the people who run it.</p>
<p><code>${redirectUriOf(place)}</code></p>`
  const title = 'Nextcloud sent you to another address'
  return { status: 400, html: writeDocument(english, { title, tone: 'care', server: hostOf(place), content }) }
}

export function notFoundPage(place: Place): Page {
  const content = markup`
<p>This server has nothing at this address. What to do in your app is on <a href="/">its first page</a>.</p>`
  const title = 'There is nothing here'
  return { status: 404, html: writeDocument(english, { title, tone: 'care', server: hostOf(place), content }) }
}

const hostOf = ({ resource }: Place) => shownHost(new URL(resource).host)
