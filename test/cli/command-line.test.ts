import { describe, expect, it } from 'vitest'
import { processSurroundings, runCommand } from '../../src/cli/command-line.js'
import { callCommand, hostOf } from '../support/command.js'

describe('the surroundings of a process', () => {
  it('reads all of standard input, and writes results and complaints to streams of their own', async () => {
    const { host, told } = hostOf({}, 'Zürich\n')
    const { readStandardInput, print, complain } = processSurroundings(host)

    expect(await readStandardInput()).toBe('Zürich\n')
    print('result')
    complain('complaint')
    expect(told).toMatchObject({ stdout: 'result', stderr: 'complaint' })
  })

  it.each(['SIGINT', 'SIGTERM'])('is stopped by %s until the end, and not after it', async (signal) => {
    const { host } = hostOf()
    const { isStopped, stopped, end } = processSurroundings(host).stoppable()

    expect(isStopped()).toBe(false)
    host.emit(signal)
    await stopped
    expect(isStopped()).toBe(true)
    end()
    expect(host.eventNames()).toEqual([])
  })

  it('shows progress on a line that does not wrap, and clears it', () => {
    const { host, told } = hostOf({ isTTY: true, columns: 5 })
    const { progress } = processSurroundings(host, {})

    progress('long text')
    progress()
    expect(told.stderr).toBe('\r\u001b[2Klong\r\u001b[2K')
  })

  it.each([
    ['a pipe', { isTTY: false }, {}],
    ['a terminal that cannot take a line back', { isTTY: true, columns: 80 }, { TERM: 'dumb' }],
  ])('shows no progress on %s', (_name, terminal, environment) => {
    const { host, told } = hostOf(terminal)

    processSurroundings(host, environment).progress('text')
    expect(told.stderr).toBe('')
  })

  it('ends the process with the status that it is told', () => {
    const { host, told } = hostOf()

    processSurroundings(host).exit(1)
    expect(told.exits).toEqual([1])
  })
})

describe('a command', () => {
  it('is no misuse where it fails for another reason', async () => {
    const failing = callCommand((_args, surroundings) => {
      return runCommand('name', surroundings, () => Promise.reject(new TypeError('broken')))
    }, [])

    await expect(failing).rejects.toThrow(new TypeError('broken'))
  })
})
