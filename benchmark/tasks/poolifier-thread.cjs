'use strict'
// poolifier asks for a worker script that makes its own ThreadWorker.
const { ThreadWorker } = require('poolifier')
module.exports = new ThreadWorker({ ...require('./tasks.cjs') })
