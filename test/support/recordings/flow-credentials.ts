import { cookieOf, newSession } from '../nextcloud/sessions.js'
import { SECOND, type Makers, type Making } from './makers.js'

const STATE_TOKEN = 'the-state-token'
const MINUTE = 60 * SECOND

/** Credentials of Login Flow v2, and of the browser that an exchange was made with. */
export function flowCredentials(making: Making, isSignedIn: boolean): Makers {
  const { id, given, nextcloud, clock } = making
  const session = newSession(nextcloud.state, isSignedIn && !given.startsWith('was signed in') ? 'alice' : undefined)
  let begun: ReturnType<typeof begin> | undefined
  async function inFlow() {
    const flow = await (begun ??= begin(making))
    session.kept.set('login-token', flow.loginToken)
    session.kept.set('state-token', STATE_TOKEN)
    if (!given.startsWith('granted')) return flow
    await grant(making, session.kept)
    session.kept.delete('state-token')
    if (given.includes('polled')) await making.post('/login/v2/poll', { token: flow.pollToken })
    return flow
  }
  async function browser(): Promise<string> {
    if (id.startsWith('flow.') && !id.includes('.open.')) await inFlow()
    if (id.startsWith('flow.grant-page.agent')) session.kept.delete('state-token')
    return cookieOf(session)
  }
  return {
    '<poll token, 128 characters>': async () => {
      if (id === 'flow.poll.wrong-token') return 'made-up'
      const { pollToken } = await inFlow()
      const [, minutes = '0'] = /(\d+)-minutes/.exec(id) ?? []
      clock.advance(Number(minutes) * MINUTE)
      return pollToken
    },
    '<login token>': async () => {
      if (id === 'flow.open.wrong-token') return 'made-up'
      const { loginToken } = await inFlow()
      if (id.endsWith('20-minutes')) clock.advance(20 * MINUTE)
      return loginToken
    },
    '<session, not signed in>': browser,
    '<session of alice>': browser,
    '<state token>': () => STATE_TOKEN,
    '<requesttoken, 89 characters>': () => session.requestToken,
  }
}

async function begin({ send }: Making) {
  const answer = await send({ method: 'POST', path: '/index.php/login/v2', headers: { 'user-agent': 'Acme notes' } })
  const { poll, login } = JSON.parse(answer.text) as { poll: { token: string }; login: string }
  return { pollToken: poll.token, loginToken: login.split('/').at(-1)! }
}

/** Alice grants what a browser was asked for. */
async function grant({ nextcloud, post }: Making, kept: ReadonlyMap<string, string>): Promise<void> {
  const alice = newSession(nextcloud.state, 'alice')
  for (const [name, value] of kept) alice.kept.set(name, value)
  const form = { stateToken: STATE_TOKEN, requesttoken: alice.requestToken }
  await post('/login/v2/grant', form, { cookie: cookieOf(alice) })
}
