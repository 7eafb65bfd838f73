import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { decodeJwt } from 'jose'
import { expect, inject, it, onTestFinished } from 'vitest'
import { snippets } from './support/documented-server.js'
import { ADMINISTRATOR, IMPORTED } from './support/keycloak-server.js'
import { openMiddleware } from './support/middleware.js'
import { createEmptyRealm } from './support/realm.js'
import { signIn } from './support/tokens.js'

const run = promisify(execFile)

it('the kcadm commands of the page make an empty realm one in which MCP tokens are exchanged', async () => {
  const { url, home } = inject('keycloak')
  const name = `kcadm-${randomBytes(4).toString('hex')}`
  const realm = await createEmptyRealm(name)
  await realm.admin('POST', '/users', {
    ...{ username: 'alice', firstName: 'Alice', lastName: 'Example', email: 'alice@example.com', enabled: true },
    credentials: [{ type: 'password', value: IMPORTED.USER_PASSWORD }],
  })
  const folder = mkdtempSync(path.join(tmpdir(), 'kcadm-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const environment = {
    ...process.env,
    HOME: folder,
    PATH: `${path.join(home, 'bin')}:${process.env['PATH'] ?? ''}`,
    KC_OPTS: `-Duser.home=${folder} -XX:TieredStopAtLevel=1`,
    SERVER: url,
    ADMIN: ADMINISTRATOR.username,
    PASSWORD: ADMINISTRATOR.password,
  }
  const [commands = ''] = snippets('sh').filter((code) => code.startsWith('# kcadm\n'))
  expect(commands).toContain('-r acme')
  const signedIn =
    'kcadm.sh config credentials --server "$SERVER" --realm master --user "$ADMIN" --password "$PASSWORD"'
  const script = `set -eu\n${signedIn}\n${commands.replaceAll('-r acme', `-r ${name}`)}`
  await run('sh', ['-c', script], { env: environment, timeout: 110_000 })

  const clientId = (await realm.client('mcp-server')).id
  const secret = (await realm.admin('GET', `/clients/${clientId}/client-secret`)) as { value: string }
  const { token, claims } = await signIn(realm, { scope: '' })
  expect([claims.aud].flat()).toEqual(expect.arrayContaining(['mcp-server', IMPORTED.MCP_RESOURCE]))
  const { auth } = openMiddleware(realm, { clientSecret: secret.value })
  const exchanged = decodeJwt(await auth.getNextcloudToken(await auth.verify(token)))
  expect(exchanged).toMatchObject({ aud: 'nextcloud', sub: claims.sub })
})
