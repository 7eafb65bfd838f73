import { getAuth } from '../../lib/auth'
import { mcpEndpoint } from '../../lib/endpoint'
import { createMcp } from '../../lib/mcp'

export const dynamic = 'force-dynamic'

const kept: { mcp?: ReturnType<typeof createMcp> } = {}

const handle = mcpEndpoint(getAuth, () => (kept.mcp ??= createMcp(getAuth())))

export { handle as GET, handle as POST, handle as DELETE, handle as OPTIONS }
