import type { NextcloudOptions } from '../../src/index.js'
import { world } from './world.js'

/** The old name of `world({ nextcloud: true })`. */
export async function setUpFetch(base = '', more: Omit<NextcloudOptions, 'url'> = {}) {
  const setup = await world({ nextcloud: true, options: (_as, url) => ({ nextcloud: { url: url + base, ...more } }) })
  return { ...setup, alice: await setup.signIn() }
}
