import type { TestProject } from 'vitest/node'
import { startKeycloak } from './keycloak-server.js'

declare module 'vitest' {
  interface ProvidedContext {
    keycloak: { readonly url: string; readonly home: string }
  }
}

/** Vitest calls it before a run: one Keycloak for all test files, each with realms of its own. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { url, home, stop } = await startKeycloak()
  project.provide('keycloak', { url, home })
  return stop
}
