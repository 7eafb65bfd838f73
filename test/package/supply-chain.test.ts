import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

interface Locked {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly devOptional?: boolean
  readonly optional?: boolean
  readonly link?: boolean
}

/** Licences of what users install. */
const FOR_USERS = ['MIT', 'ISC', 'BlueOak-1.0.0', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD']
/** Licences of what only this repository's own work needs, none of which ships. */
const FOR_DEVELOPMENT = [...FOR_USERS, 'MPL-2.0', 'CC-BY-4.0', 'PSF-2.0', 'Python-2.0', 'CC0-1.0']
/** Packages whose manifest names its licence in an old form, or only in its text: each was read, and is MIT. */
const READ = ['busboy', 'streamsearch', 'limiter']

/** Whether one of the licences that an expression offers is allowed. */
const isAllowed = (expression: string, allowed: readonly string[]): boolean =>
  expression
    .replace(/^\((.*)\)$/, '$1')
    .split(' OR ')
    .some((licence) => allowed.includes(licence))

/** Every package in a lock file that came from elsewhere, by its path. */
const lockedIn = (file: string): [string, Locked][] =>
  Object.entries((JSON.parse(read(file)) as { packages: Record<string, Locked> }).packages).filter(
    ([place, { link }]) => place.includes('node_modules/') && link !== true,
  )

describe('each package has a licence that was agreed to', () => {
  it.each(['package-lock.json', 'bench/package-lock.json'])('%s', (file) => {
    const packages = lockedIn(file)
    const others = packages.filter(([place, { license, dev, devOptional }]) => {
      const name = place.split('node_modules/').at(-1) ?? ''
      const forUsers = dev !== true && devOptional !== true
      if (license === undefined) return forUsers || !READ.includes(name)
      return !isAllowed(license, forUsers ? FOR_USERS : FOR_DEVELOPMENT)
    })

    expect(packages.length).toBeGreaterThan(50)
    expect(others.map(([place, { license }]) => `${place}: ${license ?? 'none named'}`)).toEqual([])
  })

  it('and users install no more than nine others', () => {
    const installed = lockedIn('package-lock.json').filter(([, { dev, devOptional }]) => !dev && !devOptional)

    expect(installed.map(([place]) => place.slice('node_modules/'.length))).toEqual([
      ...['data-uri-to-buffer', 'fetch-blob', 'formdata-polyfill', 'jose', 'lru-cache'],
      ...['node-domexception', 'node-fetch', 'oauth4webapi', 'web-streams-polyfill'],
    ])
  })
})

describe('workflows', () => {
  const workflows = readdirSync(path.join(root, '.github/workflows'))

  it.each(workflows)('%s names each action by the digest of a commit, with its version beside it', (file) => {
    const uses = read(`.github/workflows/${file}`)
      .split('\n')
      .filter((line) => /\buses:/.test(line))

    expect(uses.length).toBeGreaterThan(0)
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  })

  it.each(workflows)('%s may read the repository and no more', (file) => {
    expect(read(`.github/workflows/${file}`)).toMatch(/^permissions:\n {2}contents: read\n(?! )/m)
  })

  it.each(workflows)('%s runs nothing of the packages for development in a job that may write', (file) => {
    const jobs = read(`.github/workflows/${file}`).split(/^ {2}(?=[\w-]+:$)/m)
    for (const job of jobs.filter((text) => /^ {6}[\w-]+: write$/m.test(text))) {
      expect(job).not.toMatch(/npm (?:ci|install|test|run)|npx|\.ci\/(?:run|sbom|install-servers)/)
    }
  })
})
