"""An MCP client of the official Python SDK. It prints the address for the browser, reads where that ended, and calls tools.

Arguments: the URL of the server, the names of the tools with commas between, and the address of its metadata, if that is its id.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlparse

import httpx2
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata


class Memory:
    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


def say(**told):
    print(json.dumps(told), flush=True)


async def redirect(url):
    say(open=url)


async def callback():
    line = await asyncio.to_thread(sys.stdin.readline)
    query = {name: values[0] for name, values in parse_qs(urlparse(line.strip()).query).items()}
    return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


async def main(url, tools, client_id=None):
    metadata = OAuthClientMetadata(client_name="Python client", redirect_uris=["http://127.0.0.1:9/callback"])
    auth = OAuthClientProvider(url, metadata, Memory(), redirect, callback, client_metadata_url=client_id)
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                for tool in tools.split(","):
                    result = await session.call_tool(tool, {})
                    say(result=[content.text for content in result.content], error=result.is_error)


asyncio.run(main(*sys.argv[1:]))
