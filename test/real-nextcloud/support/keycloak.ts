import type { TestProject } from 'vitest/node'
import { setup as startKeycloak } from '../../keycloak/support/shared-keycloak.js'

/** Vitest calls it before a run: a Keycloak where `KEYCLOAK_HOME` says that there is one. */
export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  return process.env['KEYCLOAK_HOME'] === undefined ? undefined : startKeycloak(project)
}
