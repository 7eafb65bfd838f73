import { onTestFinished } from 'vitest'
import type { Target } from './target.js'

/** A client of the core app `oauth2`. */
export interface OAuth2Client {
  readonly clientId: string
  readonly clientSecret: string
}

/** Name of the client, which its sessions have too. */
export const OAUTH2_CLIENT = 'mcp-test'

/** Adds one as an administrator does in the settings, until the test ends. */
export const createOAuth2Client = async (target: Target, redirectUri: string): Promise<OAuth2Client> =>
  (await addOAuth2Client(target, redirectUri, OAUTH2_CLIENT)).client

/** The same with a name of its own, and the way to delete it before. */
export async function addOAuth2Client(
  { url, admin }: Target,
  redirectUri: string,
  name: string,
): Promise<{ readonly client: OAuth2Client; readonly remove: () => Promise<void> }> {
  const headers = {
    authorization: `Basic ${Buffer.from(`${admin.uid}:${admin.password}`).toString('base64')}`,
    'ocs-apirequest': 'true',
  }
  const place = `${url}/index.php/apps/oauth2/clients`
  const body = new URLSearchParams({ name, redirectUri })
  const response = await fetch(place, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`Nextcloud answers ${response.status} to a new client of oauth2`)
  const { id, clientId, clientSecret } = (await response.json()) as OAuth2Client & { readonly id: number }
  let removed: Promise<unknown> | undefined
  const remove = async (): Promise<void> => {
    await (removed ??= fetch(`${place}/${id}`, { method: 'DELETE', headers }))
  }
  onTestFinished(remove)
  return { client: { clientId, clientSecret }, remove }
}
