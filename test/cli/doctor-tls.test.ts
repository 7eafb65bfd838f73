import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Finding } from '../../src/cli/doctor/check.js'
import { selfSigned, type CertificateOptions, type SelfSigned } from '../support/certificate.js'
import { ROOT, setUpDoctor, STATUS } from '../support/doctor-setup.js'

const main = path.join(ROOT, 'dist/cli/main.js')
const folder = mkdtempSync(path.join(tmpdir(), 'doctor-tls-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A server with this certificate that stands for Nextcloud. */
async function startTlsServer({ cert, key }: SelfSigned): Promise<string> {
  const server = createServer({ cert, key }, (_req, res) => res.end(JSON.stringify(STATUS))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    await once(server.close(), 'close')
  })
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** What the command itself finds where that very certificate is trusted, as a private CA's would be. */
async function findTrusting(options: CertificateOptions): Promise<Finding | undefined> {
  const certificate = selfSigned(options)
  const ca = path.join(folder, `${Math.random().toString(36).slice(2)}.pem`)
  writeFileSync(ca, certificate.cert)
  const url = await startTlsServer(certificate)
  const args = ['--issuer', 'http://127.0.0.1:1', '--resource', 'http://127.0.0.1:1/mcp', '--nextcloud-url', url]
  const stdout = await new Promise<string>((resolve) => {
    const env = { NODE_EXTRA_CA_CERTS: ca, OIDC_CLIENT_ID: 'mcp-server', OIDC_CLIENT_SECRET: 'x' }
    execFile(process.execPath, [main, 'doctor', ...args, '--json'], { env }, (_error, output) => resolve(output))
  })
  return (JSON.parse(stdout) as { checks: Finding[] }).checks.find(({ id }) => id === 'nextcloud.tls')
}

describe('the doctor and TLS', () => {
  it('finds a certificate good that is trusted, in time and for this host', async () => {
    expect(await findTrusting({})).toMatchObject({ status: 'passed' })
  })

  it('finds a self-signed certificate, at each of the three servers', async () => {
    const url = await startTlsServer(selfSigned())
    for (const [option, id] of [
      ['issuer', 'issuer.tls'],
      ['nextcloud-url', 'nextcloud.tls'],
    ] as const) {
      const setup = await setUpDoctor()
      setup.options[option] = url
      const { failed, finding } = await setup.run()

      expect(failed).toEqual([id])
      expect(finding(id)?.found).toMatch(/its certificate is self-signed \(DEPTH_ZERO_SELF_SIGNED_CERT\)/)
      expect(finding(id)?.fix).toMatch(/NODE_EXTRA_CA_CERTS/)
    }
    const setup = await setUpDoctor()
    setup.options['resource'] = `${url}/mcp`
    setup.options['audience'] = setup.resource
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['public.tls'])
    expect(finding('public.tls')?.fix).toMatch(/NODE_EXTRA_CA_CERTS.*--resource/)
  })

  it.each([
    [
      'that has expired',
      { notAfter: new Date(Date.now() - 3_600_000) },
      /has expired \(CERT_HAS_EXPIRED\) → renew the/,
    ],
    ['for another host', { names: ['cloud.example.com'] }, /\(ERR_TLS_CERT_ALTNAME_INVALID\) → use the host name that/],
  ])('finds a certificate %s', async (_name, certificate, says) => {
    const { status, found, fix } = (await findTrusting(certificate))!

    expect(`${status}: ${found} → ${fix ?? ''}`).toMatch(says)
    expect(status).toBe('failed')
  })

  it('finds a port that does not speak TLS', async () => {
    const setup = await setUpDoctor()
    setup.options['nextcloud-url'] = setup.nextcloud.url.replace('http:', 'https:')
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['nextcloud.tls'])
    expect(finding('nextcloud.tls')?.fix).toMatch(/speaks TLS \(and not plain http\)/)
  })
})
