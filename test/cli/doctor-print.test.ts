import { expect, it } from 'vitest'
import { asLines } from '../../src/cli/doctor/report.js'

it('a line of the doctor holds nothing that a terminal obeys or that makes it two', () => {
  const found = 'at \u001b[2Jhttps://idp.example.com\u202e\u2028/jwks\nand more'

  expect(asLines([{ id: 'discovery.document', status: 'failed', found }])).toBe(
    '✗ discovery.document: at \uFFFD[2Jhttps://idp.example.com\uFFFD\uFFFD/jwks and more\n\n0 ✓, 1 ✗, 0 – left out\n',
  )
})
