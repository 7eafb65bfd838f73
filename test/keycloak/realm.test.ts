import { expect, inject, it } from 'vitest'
it('x', () => { expect(inject('keycloak').url).toContain('http') })
