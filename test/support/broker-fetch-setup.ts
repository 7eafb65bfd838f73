import type { NextcloudOptions, NextcloudRequest } from '../../src/index.js'
import { setUp } from './broker-setup.js'
import { startNextcloud } from './nextcloud-server.js'

/** With a Nextcloud at some base path, and a user who is signed in. */
export async function setUpFetch(base = '', more: Omit<NextcloudOptions, 'url'> = {}) {
  const nextcloud = await startNextcloud()
  const setup = await setUp({ nextcloud: { url: nextcloud.url + base, ...more } })
  const alice = await setup.signIn()
  const fetch = (path: string | URL, init?: NextcloudRequest) => setup.auth.nextcloudFetch(alice, path, init)
  return { ...setup, alice, fetch, nextcloud }
}
