'use strict'
// A worker thread without any library: takes [id, task, argument] by postMessage(), answers [id, result].
const { parentPort } = require('node:worker_threads')
const tasks = require('./tasks.cjs')
parentPort.on('message', ([id, task, argument]) => parentPort.postMessage([id, tasks[task](argument)]))
