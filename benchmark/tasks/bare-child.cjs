'use strict'
// A Node child without any library: takes [id, task, argument] over fork's own channel, answers [id, result].
const tasks = require('./tasks.cjs')
process.on('message', ([id, task, argument]) => process.send([id, tasks[task](argument)]))
process.on('disconnect', () => process.exit())
