import type { Account, Target } from './target.js'

/** Enforces two-factor authentication for one account, by a group of its own. Returns what ends it. */
export async function enforceTwoFactor({ occ }: Target, { uid }: Account): Promise<() => Promise<void>> {
  const group = `${uid}-2fa`
  await occ('group:add', group)
  await occ('group:adduser', group, uid)
  await occ('twofactorauth:enforce', '--on', `--group=${group}`)
  return async () => {
    await occ('twofactorauth:enforce', '--off')
    await occ('group:delete', group)
  }
}
