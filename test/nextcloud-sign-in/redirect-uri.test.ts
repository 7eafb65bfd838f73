import { expect, it } from 'vitest'
import { targetOf } from '../../src/nextcloud-sign-in/redirect-uri.js'

it.each([
  ['https://app.example/callback', 'app.example', false],
  ['http://127.0.0.1:8080/callback', '127.0.0.1', true],
  ['com.example.app:/callback', 'com.example.app', true],
  ['no address', '', false],
])('the place of the redirect URI %s is %j', (redirectUri, place, isOnDevice) => {
  expect(targetOf(redirectUri)).toEqual({ place, isOnDevice })
})
