'use strict'
// poolifier asks for a worker script that makes its own ClusterWorker.
const { ClusterWorker } = require('poolifier')
module.exports = new ClusterWorker({ ...require('./tasks.cjs') })
