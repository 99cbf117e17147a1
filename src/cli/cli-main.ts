#!/usr/bin/env node
// The program `multiproc`. It ends by process.exit(), because a module that the user named may keep timers or
// sockets open for ever.
import { runCli } from './run-cli.ts'

process.exit(await runCli(process.argv.slice(2)))
