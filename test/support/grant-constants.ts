/** The key that everything in the tests is sealed with. */
export const ENCRYPTION_KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => index * 7)).toString('base64url')
/** The MCP client of minted tokens. */
export const MCP_CLIENT = 'mcp-client'
