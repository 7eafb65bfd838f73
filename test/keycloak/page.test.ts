import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { decodeJwt } from 'jose'
import { expect, inject, it, onTestFinished } from 'vitest'
import { CALL_TOOL, snippets, startDocumentedServer } from './support/documented-server.js'
import { ADMINISTRATOR, IMPORTED } from './support/keycloak-server.js'
import { openMiddleware } from './support/middleware.js'
import { wordsOf } from '../support/html.js'
import { createPerson } from './support/person.js'
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
  const { token, claims } = await signIn(realm, { scope: 'notes:read notes:write' })
  expect([claims.aud].flat()).toEqual(expect.arrayContaining(['mcp-server', IMPORTED.MCP_RESOURCE]))
  expect(String(claims['scope']).split(' ')).toEqual(expect.arrayContaining(['notes:read', 'notes:write']))
  const { auth } = openMiddleware(realm, { clientSecret: secret.value })
  const exchanged = decodeJwt(await auth.getNextcloudToken(await auth.verify(token)))
  expect(exchanged).toMatchObject({ aud: 'nextcloud', sub: claims.sub, preferred_username: 'alice' })
})

it('the client of the page signs its user in and prints what a tool says, or the token for the doctor', async () => {
  const { resource, realm } = await startDocumentedServer()
  const user = await realm.user('alice')
  const call = async (...tool: string[]) => {
    const client = spawn(process.execPath, [CALL_TOOL, resource, 'mcp-client', ...tool])
    onTestFinished(() => void client.kill('SIGKILL'))
    const printed = text(client.stdout)
    const exit = once(client, 'exit').then(([code]: unknown[]) => code)
    const [words] = (await once(client.stderr.setEncoding('utf8'), 'data')) as [string]
    const { html } = await createPerson({ username: 'alice', password: realm.password }).walk(
      new URL(/^http\S+$/m.exec(words)?.[0] ?? ''),
    )
    return { seen: wordsOf(html), printed: await printed, exit: await exit }
  }
  const signedIn = { seen: 'Signed in. You can close this page.', exit: 0 }

  const { printed, ...outcome } = await call('whoami')
  expect(outcome).toEqual(signedIn)
  expect(JSON.parse(printed)).toMatchObject({ id: user.id })
  const { printed: token, ...rest } = await call()
  expect(rest).toEqual(signedIn)
  expect(decodeJwt(token)).toMatchObject({ azp: 'mcp-client', sub: user.id })
})
