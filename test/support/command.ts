import { EventEmitter } from 'node:events'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { Host, Surroundings } from '../../src/cli/command-line.js'
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
    stoppable: stoppableBy(() => false),
    exit: () => undefined,
    ...surroundings,
  })
  return { status, ...texts }
}

/** The signals of a process that is told to stop by nothing but `isStopped`. */
export const stoppableBy = (isStopped: () => boolean) => (): ReturnType<Surroundings['stoppable']> => ({
  isStopped,
  stopped: new Promise(() => undefined),
  end: () => undefined,
})

/** A process with texts for streams, where `emit` sends signals. */
export function hostOf(terminal: Partial<NodeJS.WriteStream> = {}, input = '') {
  const told = { stdout: '', stderr: '', exits: [] as number[] }
  const writing = (name: 'stdout' | 'stderr') => ({
    ...terminal,
    write: (text: string) => (told[name] += text).length > 0,
  })
  const streams = { stdin: Readable.from([Buffer.from(input)]), stdout: writing('stdout'), stderr: writing('stderr') }
  const exit = (status: number): unknown => told.exits.push(status)
  const host = Object.assign(new EventEmitter(), streams, { exit }) as unknown as Host & EventEmitter
  return { host, told }
}
