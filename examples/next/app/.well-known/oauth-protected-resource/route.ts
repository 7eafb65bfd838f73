import { GET } from './mcp/route'

export const dynamic = 'force-dynamic'

export { GET }
