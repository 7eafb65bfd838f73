import path from 'node:path'
import type { Surroundings } from '../../src/cli/command-line.js'
import { systemClock } from '../../src/clock.js'

export const ROOT = path.resolve(import.meta.dirname, '../..')

/** The end of a command, and what it said. */
export interface Ran {
  readonly status: number
  readonly output: string
  readonly complaint: string
}

/** Calls a command in surroundings of the test's own. */
export async function callCommand(
  command: (args: readonly string[], surroundings: Surroundings) => Promise<number>,
  args: readonly string[],
  surroundings: Partial<Surroundings> = {},
): Promise<Ran> {
  const texts = { output: '', complaint: '' }
  const status = await command(args, {
    environment: {},
    clock: systemClock,
    directory: ROOT,
    readStandardInput: () => Promise.resolve(''),
    print: (text) => void (texts.output += text),
    complain: (text) => void (texts.complaint += text),
    paint: (_colour, text) => text,
    progress: () => undefined,
    stoppable: () => ({ isStopped: () => false, end: () => undefined }),
    ...surroundings,
  })
  return { status, ...texts }
}
