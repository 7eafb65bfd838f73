import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { manualClock } from '../support/clock.js'
import { startSignInServer } from '../support/sign-in-server.js'

const MOST = 10_000
const TEN_MINUTES = 600_000

it('an address begins 10,000 sign-ins in ten minutes, and no other address has fewer for it', async () => {
  const clock = manualClock()
  const handle = (await startSignInServer({ clock })).signIn.routes()
  /** Asks as Express would hand a request on. PUT is what the authorization endpoint has done with soonest. */
  const ask = (ip: string): Promise<ServerResponse> => {
    const req = Object.assign(new IncomingMessage(new Socket()), { method: 'PUT', url: '/oauth/authorize', ip })
    const res = new ServerResponse(req)
    return new Promise((resolve, reject) => {
      res.end = () => {
        resolve(res)
        return res
      }
      handle(req, res, reject)
    })
  }
  for (let count = 0; count < MOST; count += 1) expect((await ask('192.0.2.1')).statusCode).not.toBe(429)

  const refused = await ask('192.0.2.1')

  expect([refused.statusCode, refused.getHeader('retry-after')]).toEqual([429, '600'])
  expect((await ask('192.0.2.2')).statusCode).not.toBe(429)
  clock.advance(TEN_MINUTES)
  expect((await ask('192.0.2.1')).statusCode).not.toBe(429)
}, 60_000)
