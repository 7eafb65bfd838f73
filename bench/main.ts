/** Prints what the middleware costs, as ratios of figures of the same run. `--quick` is the short form. */
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { mcpAuth } from 'mcp-nextcloud-auth'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
} from '../test/support/scripted-authorization-server.js'
import { measureMiddleware } from './middleware.js'
import { measureThroughput } from './throughput.js'

/** The least share of bare Express's throughput that an app keeps. */
const GOAL = 0.95
/** How far below the goal a ratio may be before the run fails: a busy machine is no defect. */
const NOISE = 0.75

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const { repeats, seconds } = values.quick ? { repeats: 3, seconds: 2 } : { repeats: 7, seconds: 4 }

const median = (figures: number[]): number => figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? NaN

/** How many token requests a thousand first calls at one time make. */
async function exchangesOfConcurrentFirstCalls(issuer: string, token: string): Promise<number> {
  const auth = mcpAuth({
    issuer,
    resource: RESOURCE,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    nextcloud: { url: 'https://cloud.example.com' },
  })
  const info = await auth.verify(token)
  await Promise.all(Array.from({ length: 1_000 }, () => info.extra.getNextcloudToken()))
  const { exchanges } = auth.stats()
  await auth.close()
  return exchanges
}

const as = await startAuthorizationServer()
try {
  const token = await as.mint()
  console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`)
  const figures = await measureThroughput(as.issuer, token, repeats, seconds)
  const ratios = figures.protected.map((figure, repeat) => figure / (figures.bare[repeat] ?? NaN))
  const ratio = median(ratios)
  const spread = `${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}`
  const middleware = await measureMiddleware(as.issuer, token)
  const exchanges = await exchangesOfConcurrentFirstCalls(as.issuer, token)
  console.table([
    {
      work: 'Express 5 app, repeated token',
      figure: 'req/s ÷ bare Express',
      value: ratio.toFixed(3),
      spread,
      goal: `≥ ${GOAL}`,
    },
    {
      work: 'the middleware alone, repeated token',
      figure: 'CPU µs per call',
      value: middleware.microseconds.toFixed(2),
      spread: '',
      goal: '≤ 3',
    },
    {
      work: 'the same',
      figure: '÷ awaited jose.jwtVerify',
      value: `1/${(1 / middleware.ratio).toFixed(0)}`,
      spread: '',
      goal: '≤ 1/40',
    },
    {
      work: '1,000 concurrent first calls of one user',
      figure: 'token requests',
      value: String(exchanges),
      spread: '',
      goal: '1',
    },
  ])
  console.log(
    `medians of ${repeats} interleaved repeats of ${seconds} s; bare Express: ${Math.round(median(figures.bare))} req/s`,
  )
  const missed = exchanges !== 1 || !(ratio >= GOAL * (values.quick ? NOISE : 1))
  if (missed) {
    console.error('A goal was missed.')
    process.exitCode = 1
  }
} finally {
  await as.close()
}
