import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findProgram } from '../../support/server-process.js'

/** The release that the suite is written for, and the SHA-256 of its zip. */
const VERSION = '26.7.3'
const SHA256 = '27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f'

const ARTIFACT = `org.keycloak:keycloak-quarkus-dist:${VERSION}:zip`
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy'
const CACHE = fileURLToPath(new URL('../../../.cache/keycloak/', import.meta.url))

const run = promisify(execFile)

/**
 * The folder of an unpacked Keycloak: `KEYCLOAK_HOME`; else the zip of `KEYCLOAK_ZIP`, or the one that Maven gets from where it
 * gets everything, unpacked once into `.cache/keycloak`.
 */
export async function keycloakHome(): Promise<string> {
  if (findProgram('java') === undefined) {
    throw new Error('Keycloak needs Java 17 or newer, and there is no java in PATH; .ci/install-servers brings it')
  }
  const own = process.env['KEYCLOAK_HOME']
  if (own !== undefined) {
    if (!existsSync(path.join(own, 'bin', 'kc.sh'))) throw new Error(`KEYCLOAK_HOME has no bin/kc.sh: ${own}`)
    return path.resolve(own)
  }
  const home = path.join(CACHE, `keycloak-${VERSION}`)
  if (!existsSync(home)) await unpackInto(home)
  return home
}

async function unpackInto(home: string): Promise<void> {
  mkdirSync(CACHE, { recursive: true })
  // Beside its place and moved there when it is whole: a run that is cut off leaves nothing that looks like Keycloak.
  const folder = mkdtempSync(path.join(CACHE, 'unpacking-'))
  try {
    const zip = process.env['KEYCLOAK_ZIP'] ?? (await download(folder))
    await check(zip)
    program('unzip', 'unpack Keycloak')
    await run('unzip', ['-q', zip, '-d', folder])
    renameSync(path.join(folder, path.basename(home)), home)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function download(folder: string): Promise<string> {
  program('mvn', 'download Keycloak (or set KEYCLOAK_ZIP or KEYCLOAK_HOME)')
  const options = [`-Dartifact=${ARTIFACT}`, '-Dtransitive=false', `-DoutputDirectory=${folder}`]
  try {
    await run('mvn', ['-B', '-q', COPY, ...options], { timeout: 600_000 })
  } catch (error) {
    throw new Error(`Maven could not get ${ARTIFACT}; KEYCLOAK_ZIP and KEYCLOAK_HOME do without`, { cause: error })
  }
  return path.join(folder, `keycloak-quarkus-dist-${VERSION}.zip`)
}

async function check(zip: string): Promise<void> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(zip), hash)
  if (hash.digest('hex') !== SHA256) throw new Error(`${zip} is not the zip of Keycloak ${VERSION} that is expected`)
}

function program(name: string, purpose: string): void {
  if (findProgram(name) === undefined) {
    throw new Error(`There is no ${name} in PATH to ${purpose}; .ci/install-servers brings it`)
  }
}
