import { readFileSync } from 'node:fs'
import { McpAuthError } from '../errors/errors.js'
import { codeOfFailure } from '../errors/failure-name.js'
import { readSettings, VARIABLES, type ServeSettings } from '../serve/settings.js'
import { readArguments, runCommand, type Surroundings } from './command-line.js'
import type { Finding } from './doctor/check.js'
import { lineOf } from './doctor/report.js'
import { lookAtStart, type StartLook } from './doctor/serve.js'
import { helpLine } from './options.js'
import { installCommand, missingPackages } from './serve-packages.js'

const HELP = `Usage: mcp-nextcloud-auth serve

Runs an MCP server for one Nextcloud: files, notes and calendars, for everybody who has an account there. People sign in with
their Nextcloud. Everything comes from the environment; mcp-nextcloud-auth doctor --serve checks it.

The first four are needed:
${Object.entries(VARIABLES)
  .map(([name, meaning]) => helpLine(name, meaning))
  .join('\n')}

Options:
${helpLine('-h, --help', 'print this text')}
`

/** Milliseconds for requests under way at the end, and for the end as a whole. */
const PATIENCE = { requests: 2_000, all: 4_000 }

/**
 * Runs the server until it is told to end.
 *
 * @returns the exit status: 0 it was told to end, 1 it cannot run, 2 misuse
 */
export async function serve(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { environment, directory, print, complain } = surroundings
  return runCommand('serve', surroundings, async () => {
    const { values } = readArguments(args, { help: { type: 'boolean', short: 'h' } })
    if (values['help'] === true) {
      print(HELP)
      return 0
    }
    const { settings, faults } = readSettings(environment, directory)
    if (faults !== undefined) {
      complain(`mcp-nextcloud-auth serve cannot start:
${faults.map((fault) => `- ${fault}\n`).join('')}`)
      return 2
    }
    const missing = await missingPackages()
    if (missing.length > 0) {
      complain(
        `mcp-nextcloud-auth serve needs packages that are not installed: ${missing.join(', ')}. Run:\n${installCommand(missing)}\n`,
      )
      return 1
    }
    const { wrong, findings } = await lookAtStart(surroundings, settings)
    if (wrong !== undefined) {
      complain(`mcp-nextcloud-auth serve cannot start: ${wrong}\n`)
      return 1
    }
    return run(settings, surroundings, findings)
  })
}

async function run(
  settings: ServeSettings,
  { print, complain, stoppable, exit }: Surroundings,
  look: StartLook['findings'],
): Promise<number> {
  const write = (line: string) => print(`${new Date().toISOString()} ${line}\n`)
  const { startServe } = await import('../serve/server.js')
  try {
    const server = await startServe(settings, { version: version(), write })
    server.notes.forEach((note) => complain(`${note}\n`))
    complain(
      `Listening on ${settings.host}, port ${server.port}. Open ${new URL(settings.resource).origin}/ to connect an app.\n`,
    )
    // Not awaited: an outage of Nextcloud keeps nobody from starting. A look that breaks says nothing.
    void look().then(
      (findings) => complain(lookedAt(findings)),
      () => undefined,
    )
    const { stopped, end } = stoppable()
    await stopped
    complain('Stopping\n')
    // An end that takes longer is no end: what is sealed in the store stays good.
    setTimeout(() => exit(1), PATIENCE.all).unref()
    await server.stop(PATIENCE.requests)
    end()
    return 0
  } catch (error) {
    complain(`mcp-nextcloud-auth serve cannot start: ${reasonOf(error, settings)}\n`)
    return 1
  }
}

function lookedAt(findings: readonly Finding[]): string {
  const heading = findings.some(({ status }) => status === 'failed') ? 'Mend this before anybody signs in:\n' : ''
  return heading + findings.map((finding) => `${lineOf(finding)}\n`).join('')
}

/** Returns words without secrets: errors of this package have none, and those of the system name files and addresses. */
function reasonOf(error: unknown, { port, host }: ServeSettings): string {
  if (error instanceof McpAuthError) return error.detail
  const code = codeOfFailure(error)
  if (code === 'EADDRINUSE') {
    return `something else listens on port ${port} of ${host}. Set PORT to another one, and change NEXTCLOUD_MCP_SERVER_URL and the redirection URI in Nextcloud with it`
  }
  return code ?? 'for a reason that it does not know'
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
