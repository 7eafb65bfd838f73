import { onTestFinished } from 'vitest'
import { turn } from './promises.js'

/** The warnings of this process from now to the end of the test. Node prints none of them meanwhile. */
export function captureWarnings(): Error[] {
  const warnings: Error[] = []
  const record = (warning: Error): void => void warnings.push(warning)
  const printers = process.listeners('warning')
  process.removeAllListeners('warning').on('warning', record)
  onTestFinished(async () => {
    // A warning comes one turn after its cause.
    await turn()
    process.off('warning', record)
    for (const printer of printers) process.on('warning', printer)
  })
  return warnings
}
