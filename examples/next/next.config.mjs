/** @type {import('next').NextConfig} */
const config = {
  // It makes requests by Node's own means, and stays out of the bundle.
  serverExternalPackages: ['mcp-nextcloud-auth'],
}

export { config as default }
