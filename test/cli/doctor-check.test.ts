import { expect, it } from 'vitest'
import { answered, check, passed } from '../../src/cli/doctor/check.js'
import { runChecks } from '../../src/cli/doctor/checks.js'
import type { Examination } from '../../src/cli/doctor/examination.js'
import { asJson } from '../../src/cli/doctor/report.js'

const NOTHING = {} as Examination

it.each([
  [new TypeError('canary'), 'TypeError'],
  [Object.assign(new Error('canary'), { code: 'EPIPE' }), 'EPIPE'],
  ['canary', 'unknown failure'],
])('a check that fails itself is a finding with one word of the failure: %s', async (failure, word) => {
  const broken = check({ id: 'broken', run: () => Promise.reject(failure as Error) })
  const after = check({ id: 'after', needs: ['broken'], run: () => passed('well') })

  expect(await runChecks(NOTHING, [broken, after], () => undefined)).toEqual([
    {
      id: 'broken',
      status: 'failed',
      found: `the check itself failed (${word})`,
      fix: 'report it as a defect of the doctor',
    },
    { id: 'after', status: 'left-out', found: 'mend broken first', fix: undefined },
  ])
})

it('a check of an answer is left out where there is none', async () => {
  const about = answered(() => ({ url: 'https://idp.example.com', code: 'ECONNREFUSED' }))
  const judged = check({ id: 'of-answer', about, run: (_context, { status }) => passed(`${status}`) })

  expect(await judged.judge(NOTHING)).toEqual({ status: 'left-out', found: 'no answer', fix: undefined })
})

it('the report in JSON has no character that a terminal obeys', () => {
  const report = asJson([{ id: 'a', status: 'passed', found: 'x\u009b2J\u2028' }])

  expect(report).toContain('"found": "x\\u009b2J\\u2028"')
})
