import { writeFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { CAUSES } from '../support/rejection-causes.js'

const told: string[] = []

afterAll(() => {
  const file = process.env['CAUSES_FILE']
  if (file !== undefined) writeFileSync(file, told.join('\n\n') + '\n')
})

it.each(CAUSES.map((cause, index) => ({ ...cause, index })))(
  'the operator is told which setting to change when $cause',
  async ({ told: read, names, index }) => {
    const line = await read()
    told[index] = `${index + 1}: ${line.replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'https://idp.example.com')}`

    expect(line).toMatch(names)
  },
)
