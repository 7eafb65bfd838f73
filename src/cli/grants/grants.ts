import { Misuse, readArguments, readSetUp, type Surroundings } from '../command-line.js'
import { runOnStore } from '../failures.js'
import { createSecrets } from '../secrets.js'
import { listGrants } from './list.js'
import { moveGrants } from './move.js'
import { GRANTS_HELP, GRANTS_OPTIONS } from './options.js'

const COMMANDS = { list: listGrants, move: moveGrants }

/**
 * Lists the connections in a store, or moves them to another configuration.
 *
 * @returns the exit status: 0 done, 1 something is wrong, 2 misuse, 130 stopped
 */
export async function grants(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const secrets = createSecrets()
  return runOnStore('grants', secrets, surroundings, async () => {
    const { values, given } = readArguments(args, GRANTS_OPTIONS, 1)
    if (values['help'] === true) {
      surroundings.print(GRANTS_HELP)
      return 0
    }
    const [name = ''] = given
    if (!Object.hasOwn(COMMANDS, name)) throw new Misuse('the command is missing: list or move')
    const setUp = await readSetUp(values, secrets, surroundings)
    const mask = (text: string): void => surroundings.print(secrets.mask(text))
    try {
      return await COMMANDS[name as keyof typeof COMMANDS]({ setUp, values }, { ...surroundings, print: mask })
    } finally {
      await setUp.store?.close()
    }
  })
}
