import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createTimeline } from '../demo/timeline.js'
import { CANARY, runLoad } from './load.js'
import { dashboardOf, PANELS, seriesOf } from './panels.js'
import { drawDashboard } from './picture.js'

process.exitCode = (await check(process.argv.includes('--draw'))) ? 0 : 1

/** Runs the example under load and says what came out. With `--draw`, writes the dashboard and its picture anew. */
async function check(draws: boolean): Promise<boolean> {
  const timeline = createTimeline(process.stdout)
  const { spans, frames } = await runLoad(draws ? 24 : 3, draws ? 500 : 250)
  const names = [...new Set(spans.map(({ name }) => name))].sort()
  timeline.step('spans', names.join(', '))
  for (const { metric, unit } of new Map((frames.at(-1)?.points ?? []).map((point) => [point.metric, point])).values())
    timeline.step('metric', `${metric} (${unit})`)
  timeline.check(
    'each kind of work has spans',
    names.filter((name) => /^(mcp\.auth|nextcloud)\./.test(name)).length === 7,
  )
  timeline.check(
    'each panel has a line',
    PANELS.every((panel) => seriesOf(panel, frames).length > 0),
  )
  const told = JSON.stringify([
    spans.map(({ name, attributes, events, status }) => [name, attributes, events, status]),
    frames,
  ])
  timeline.check('no subject, token, secret or query is in them', !told.includes(CANARY))
  if (draws) {
    const write = (file: string, text: string): Promise<void> => writeFile(path.join(import.meta.dirname, file), text)
    await write('dashboard.json', `${JSON.stringify(dashboardOf(PANELS), null, 2)}\n`)
    await write('dashboard.svg', drawDashboard(PANELS, frames))
  }
  return timeline.summary()
}
