#!/usr/bin/env node
import { runCommands } from './commands.js'

process.exitCode = await runCommands(process.argv.slice(2))
